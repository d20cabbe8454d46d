//! What infrastructure code should say, so that its next run does not take a control off its baseline again.

use crate::control::table::Control;

/// A language of infrastructure code, as far as a user agent tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Of Terraform, and of OpenTofu.
    Hcl,
    CloudFormation,
    /// Pulumi, Crossplane and the like: as many words for the same.
    Other,
}

impl Language {
    /// `None`: it is no infrastructure code.
    pub fn of(user_agent: &str) -> Option<Self> {
        let agent = user_agent.to_ascii_lowercase();
        let is_any = |names: &[&str]| names.iter().any(|it| agent.contains(it));
        if is_any(&["terraform", "opentofu"]) {
            Some(Self::Hcl)
        } else if is_any(&["cloudformation"]) {
            Some(Self::CloudFormation)
        } else {
            is_any(&["pulumi", "crossplane"]).then_some(Self::Other)
        }
    }

    /// The line to change.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_S3.html>
    pub fn line(self, control: Control) -> Option<&'static str> {
        let hcl = match control {
            Control::PublicAccessBlock => {
                "aws_s3_bucket_public_access_block: block_public_acls, block_public_policy, ignore_public_acls, restrict_public_buckets = true"
            }
            Control::ObjectOwnership => {
                "aws_s3_bucket_ownership_controls: rule { object_ownership = \"BucketOwnerEnforced\" }; no aws_s3_bucket_acl"
            }
            Control::BucketPolicy => {
                "aws_s3_bucket_policy: policy = ... with the required Deny statements, which `guardrail plan BUCKET` shows"
            }
            Control::DefaultEncryption => {
                "aws_s3_bucket_server_side_encryption_configuration: sse_algorithm = \"aws:kms\", kms_master_key_id = the key's ARN, bucket_key_enabled = true"
            }
            Control::Versioning => "aws_s3_bucket_versioning: versioning_configuration { status = \"Enabled\" }",
            Control::Lifecycle => {
                "aws_s3_bucket_lifecycle_configuration: the rules expire-noncurrent-30days and abort-multipart-7d beside its own"
            }
            Control::Inventory => "aws_s3_bucket_inventory: leave out name = \"encryption-and-replication\"",
            Control::KmsKey => {
                "aws_kms_key: is_enabled = true, enable_key_rotation = true, policy = ... with the statements whose Sid begins with Guardrail"
            }
            Control::Trail => {
                "aws_cloudtrail: enable_logging, is_multi_region_trail, enable_log_file_validation = true, event selectors with management writes and the bucket's objects"
            }
        };
        let cloudformation = match control {
            Control::PublicAccessBlock => {
                "AWS::S3::Bucket PublicAccessBlockConfiguration: BlockPublicAcls, BlockPublicPolicy, IgnorePublicAcls, RestrictPublicBuckets: true"
            }
            Control::ObjectOwnership => {
                "AWS::S3::Bucket OwnershipControls: Rules: [{ObjectOwnership: BucketOwnerEnforced}]; no AccessControl"
            }
            Control::BucketPolicy => {
                "AWS::S3::BucketPolicy PolicyDocument: with the required Deny statements, which `guardrail plan BUCKET` shows"
            }
            Control::DefaultEncryption => {
                "AWS::S3::Bucket BucketEncryption: SSEAlgorithm: aws:kms, KMSMasterKeyID: the key's ARN, BucketKeyEnabled: true"
            }
            Control::Versioning => "AWS::S3::Bucket VersioningConfiguration: {Status: Enabled}",
            Control::Lifecycle => {
                "AWS::S3::Bucket LifecycleConfiguration: the rules expire-noncurrent-30days and abort-multipart-7d beside its own"
            }
            Control::Inventory => {
                "AWS::S3::Bucket InventoryConfigurations: leave the one with Id encryption-and-replication as it is"
            }
            Control::KmsKey => {
                "AWS::KMS::Key: Enabled: true, EnableKeyRotation: true, KeyPolicy: with the statements whose Sid begins with Guardrail"
            }
            Control::Trail => {
                "AWS::CloudTrail::Trail: IsLogging, IsMultiRegionTrail, EnableLogFileValidation: true, event selectors with management writes and the bucket's objects"
            }
        };
        match self {
            Self::Hcl => Some(hcl),
            Self::CloudFormation => Some(cloudformation),
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_known_by_its_user_agent() {
        for (agent, language) in [
            ("[APN/1.0 HashiCorp/1.0 Terraform/1.13.4 aws-sdk-go-v2/1.39]", Some(Language::Hcl)),
            ("OpenTofu/1.10", Some(Language::Hcl)),
            ("cloudformation.amazonaws.com", Some(Language::CloudFormation)),
            ("pulumi", Some(Language::Other)),
            ("crossplane-provider-aws", Some(Language::Other)),
            ("aws-cli/2.31", None),
            ("", None),
        ] {
            assert_eq!(Language::of(agent), language, "{agent}");
        }
    }

    #[test]
    fn each_control_has_its_line() {
        for control in Control::ALL {
            assert!(Language::Hcl.line(control).is_some_and(|it| it.starts_with("aws_")), "{control}");
            assert!(Language::CloudFormation.line(control).is_some_and(|it| it.starts_with("AWS::")), "{control}");
            assert_eq!(Language::Other.line(control), None);
        }
    }
}
