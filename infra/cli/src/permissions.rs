//! Which IAM action each call needs.

use guardrail_core::control::table::Control;

/// A call beside those of the controls.
struct Call {
    api: &'static str,
    iam: &'static str,
    /// A bootstrap or a reconcile makes it; the others are this command's own.
    guards: bool,
}

const fn guards(api: &'static str, iam: &'static str) -> Call {
    Call { api, iam, guards: true }
}

const fn own(api: &'static str, iam: &'static str) -> Call {
    Call { api, iam, guards: false }
}

const CALLS: [Call; 45] = [
    guards("CreateBucket", "s3:CreateBucket"),
    guards("GetBucketWebsite", "s3:GetBucketWebsite"),
    guards("GetBucketReplication", "s3:GetReplicationConfiguration"),
    guards("ListObjectVersions", "s3:ListBucketVersions"),
    guards("CreateKey", "kms:CreateKey"),
    guards("ListKeys", "kms:ListKeys"),
    guards("ListResourceTags", "kms:ListResourceTags"),
    guards("TagResource", "kms:TagResource"),
    guards("GetParameter", "ssm:GetParameter"),
    guards("GetParameterHistory", "ssm:GetParameterHistory"),
    guards("GetParametersByPath", "ssm:GetParametersByPath"),
    guards("PutParameter", "ssm:PutParameter"),
    own("DeleteParameter", "ssm:DeleteParameter"),
    own("DescribeTrails", "cloudtrail:DescribeTrails"),
    own("LookupEvents", "cloudtrail:LookupEvents"),
    own("StopLogging", "cloudtrail:StopLogging"),
    own("DeleteTrail", "cloudtrail:DeleteTrail"),
    own("ListAliases", "kms:ListAliases"),
    own("DeleteAlias", "kms:DeleteAlias"),
    own("ScheduleKeyDeletion", "kms:ScheduleKeyDeletion"),
    own("GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration"),
    own("DeleteBucketInventoryConfiguration", "s3:PutInventoryConfiguration"),
    own("GetObject", "s3:GetObject"),
    own("PutObject", "s3:PutObject"),
    own("DeleteBucketPolicy", "s3:DeleteBucketPolicy"),
    own("DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    own("DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    own("DeleteBucketEncryption", "s3:PutEncryptionConfiguration"),
    own("DeleteBucketLifecycle", "s3:PutLifecycleConfiguration"),
    own("ListBuckets", "s3:ListAllMyBuckets"),
    own("ListObjectsV2", "s3:ListBucket"),
    own("ListMultipartUploads", "s3:ListBucketMultipartUploads"),
    own("DeleteObjects", "s3:DeleteObjectVersion"),
    own("GetObjectLegalHold", "s3:GetObjectLegalHold"),
    own("GetObjectRetention", "s3:GetObjectRetention"),
    own("AbortMultipartUpload", "s3:AbortMultipartUpload"),
    own("DeleteBucket", "s3:DeleteBucket"),
    own("GetAccountSettings", "lambda:GetAccountSettings"),
    own("GetFunctionConfiguration", "lambda:GetFunctionConfiguration"),
    own("ValidateTemplate", "cloudformation:ValidateTemplate"),
    own("DescribeStacks", "cloudformation:DescribeStacks"),
    own("TestEventPattern", "events:TestEventPattern"),
    own("BatchGetItem", "dynamodb:BatchGetItem"),
    own("ListRules", "events:ListRules"),
    own("SimulatePrincipalPolicy", "iam:SimulatePrincipalPolicy"),
];

/// The IAM action that a call needs; `None`: it is not known here.
pub(crate) fn action(operation: &str) -> Option<&'static str> {
    let of_controls = Control::ALL.iter().flat_map(|it| it.vocabulary().calls).map(|it| (it.api, it.iam));
    of_controls.chain(CALLS.map(|it| (it.api, it.iam))).find(|(api, _)| *api == operation).map(|(_, iam)| iam)
}

/// The IAM actions that building, reading and restoring a baseline needs.
pub(crate) fn needed() -> impl Iterator<Item = &'static str> {
    let of_controls = Control::ALL.iter().flat_map(|it| it.vocabulary().calls).map(|it| it.iam);
    of_controls.chain(CALLS.into_iter().filter(|it| it.guards).map(|it| it.iam))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_named_as_iam_names_it() {
        assert_eq!(action("GetBucketLifecycleConfiguration"), Some("s3:GetLifecycleConfiguration"));
        assert_eq!(action("GetBucketAcl"), Some("s3:GetBucketAcl"));
        assert_eq!(action("GetParameter"), Some("ssm:GetParameter"));
        assert_eq!(action("DeleteObjects"), Some("s3:DeleteObjectVersion"));
        assert_eq!(action("ListObjectVersions"), Some("s3:ListBucketVersions"));
        assert_eq!(action("Other"), None);
    }
}
