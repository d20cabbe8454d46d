//! The bucket policy: what it must say, and what may not be written.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    control::{
        setting::{BucketSetting, SettingError},
        vocabulary::{ApiCall, Vocabulary},
    },
    value::{
        access::{self, Call, Caller, Truth},
        names::{BucketName, KeyArn, RoleArn, bucket_arn},
        policy::{Policy, Statement},
    },
};

/// Its row of the table.
pub const ROW: Vocabulary = Vocabulary {
    id: "bucket-policy",
    events: &["PutBucketPolicy", "DeleteBucketPolicy"],
    calls: &[
        ApiCall::read("GetBucketPolicy", "s3:GetBucketPolicy"),
        ApiCall::write("PutBucketPolicy", "s3:PutBucketPolicy"),
    ],
};

/// S3's limit for a bucket policy, in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html>
pub const MAX_BYTES: usize = 20 * 1024;

const SSE: &str = "s3:x-amz-server-side-encryption";

/// The condition key of the key that an upload names.
pub const SSE_KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";

/// Which uploads the policy lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyVariant {
    /// Every upload names `aws:kms` and the key in its headers.
    #[default]
    Strict,
    /// An upload without encryption headers is let through: the bucket's default encryption applies to it.
    DefaultEncryption,
}

/// The statements that `bucket` must have.
pub fn required(variant: PolicyVariant, partition: &str, bucket: &BucketName, key: &KeyArn) -> Vec<Statement> {
    let bucket = bucket_arn(partition, bucket);
    let objects = format!("{bucket}/*");
    let deny_put = |sid: &str, condition: Value| deny(sid, "s3:PutObject", json!(objects), condition);
    let mut statements = vec![tls_only(&bucket)];
    match variant {
        PolicyVariant::Strict => statements.extend([
            deny_put("DenyMissingEncryptionHeader", json!({"Null": {SSE: "true"}})),
            deny_put("DenyNotUsingKMS", json!({"StringNotEquals": {SSE: "aws:kms"}})),
            deny_put("DenyWrongKMSKey", json!({"StringNotEquals": {SSE_KEY: key}})),
        ]),
        // A negated operator is true for an absent key, hence the `Null` beside each.
        PolicyVariant::DefaultEncryption => statements.extend([
            deny_put("DenyNotUsingKMS", json!({"Null": {SSE: "false"}, "StringNotEquals": {SSE: "aws:kms"}})),
            deny_put("DenyWrongKMSKey", json!({"Null": {SSE_KEY: "false"}, "StringNotEquals": {SSE_KEY: key}})),
            deny_put("DenyKMSWithoutKeyId", json!({"StringEquals": {SSE: "aws:kms"}, "Null": {SSE_KEY: "true"}})),
        ]),
    }
    statements
}

/// The statement that a bucket, given as its ARN, is for TLS only.
pub fn tls_only(bucket: &str) -> Statement {
    let resources = json!([bucket, format!("{bucket}/*")]);
    deny("DenyInsecureTransport", "s3:*", resources, json!({"Bool": {"aws:SecureTransport": "false"}}))
}

pub fn deny(sid: &str, action: &str, resource: Value, condition: Value) -> Statement {
    Statement(json!({
        "Sid": sid, "Effect": "Deny", "Principal": "*", "Action": action, "Resource": resource, "Condition": condition,
    }))
}

/// Why a policy must not be written, in words for the alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    #[error(
        "the policy with the required statements would have {bytes} bytes and S3 allows {MAX_BYTES}; \
         shorten {largest}, the largest that is not the guardrail's"
    )]
    TooLong { bytes: usize, largest: String },
    #[error(
        "{statement} denies {action} to the guardrail's own role {role}; remove that statement, as root if need be"
    )]
    Lockout { statement: String, action: &'static str, role: String },
}

/// Checks a document before it is written: its size, and that our own role can read and write it afterwards.
pub fn check(
    policy: &Policy,
    required: &[Statement],
    bucket: &str,
    role: &RoleArn,
    now: Timestamp,
) -> Result<(), PolicyRefusal> {
    let bytes = policy.document().len();
    if bytes > MAX_BYTES {
        let is_ours = |it: &Statement| required.iter().any(|ours| ours.means(it));
        let theirs = policy.statements.iter().filter(|it| !is_ours(it));
        let largest = theirs.max_by_key(|it| it.0.to_string().len()).map(Statement::label);
        return Err(PolicyRefusal::TooLong { bytes, largest: largest.unwrap_or_else(|| "a statement".to_owned()) });
    }
    for action in ["s3:GetBucketPolicy", "s3:PutBucketPolicy"] {
        // What it perhaps denies was in force when we read the policy, and we could.
        let call = Call { caller: Caller::Role(role), action, resource: bucket, now };
        let denies = |it: &&Statement| it.is_deny() && access::applies(it, call) == Truth::Yes;
        if let Some(statement) = policy.statements.iter().find(denies) {
            return Err(PolicyRefusal::Lockout { statement: statement.label(), action, role: role.to_string() });
        }
    }
    Ok(())
}

/// Which statements S3 most likely refused the document for, given its error code.
pub fn suspects(policy: &Policy, code: &str) -> Option<String> {
    let named = |is: fn(&Statement) -> bool| {
        let labels: Vec<_> = policy.statements.iter().filter(|it| is(it)).map(Statement::label).collect();
        (!labels.is_empty()).then(|| labels.join(", "))
    };
    match code {
        "AccessDenied" => named(Statement::is_public).map(|labels| {
            format!("Block Public Access refuses a policy that is public: {labels}; remove or narrow it, and the guardrail restores the rest")
        }),
        "MalformedPolicy" => named(Statement::has_dead_principal).map(|labels| {
            format!("S3 refuses a policy that names a deleted user or role: {labels}; remove it, or set `drop_dead_principals` in the registry document")
        }),
        _ => None,
    }
}

impl BucketSetting for Policy {
    fn unset() -> Self {
        Self::default()
    }

    fn to_json(&self) -> Value {
        self.to_json()
    }

    fn from_record(record: &Value) -> Result<Self, SettingError> {
        if record.is_null() { Ok(Self::default()) } else { Ok(Self::parse(&record.to_string())?) }
    }

    fn is(&self, other: &Self) -> bool {
        self.means(other)
    }

    fn in_words_of(&self, other: &Self) -> Self {
        self.in_words_of(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{names::bucket_arn, policy::OUR_SIDS};

    const BUCKET: &str = "arn:aws:s3:::acme-data";

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-guardrail-remediate-eu-west-2";

    fn required(variant: PolicyVariant) -> Vec<Statement> {
        let key = "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap();
        super::required(variant, "aws", &"acme-data".parse().unwrap(), &key)
    }

    fn strict() -> Vec<Statement> {
        required(PolicyVariant::Strict)
    }

    fn policy(statements: &[Value]) -> Policy {
        Policy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap()
    }

    fn own() -> Vec<Value> {
        strict().into_iter().map(|it| it.0).collect()
    }

    /// What becomes of the required statements and this one in place of the first, `DenyInsecureTransport`.
    fn with_first(first: Value) -> (Policy, Policy) {
        let mut statements = own();
        statements[0] = first;
        let before = policy(&statements);
        (before.requiring(&strict()), before)
    }

    #[track_caller]
    fn check_present(first: Value) {
        let (after, before) = with_first(first);
        assert_eq!(after, before);
    }

    #[track_caller]
    fn check_replaced(first: Value) {
        let (after, _) = with_first(first);
        assert_eq!(after, policy(&own()));
    }

    #[track_caller]
    fn check_added(first: Value) {
        let (after, before) = with_first(first);
        assert_eq!(after.statements[..4], before.statements[..], "the owner's statement stays");
        assert_eq!(after.statements[4..], strict()[..1]);
    }

    fn tls(changes: Value) -> Value {
        let mut statement = own().remove(0);
        for (key, value) in changes.as_object().unwrap() {
            statement[key] = value.clone();
        }
        statement
    }

    #[test]
    fn a_missing_policy_gets_all_four() {
        let after = Policy::default().requiring(&strict());
        assert_eq!(after.to_json(), json!({"Version": "2012-10-17", "Statement": own()}));
    }

    #[test]
    fn spelling_does_not_matter() {
        check_present(tls(json!({})));
        check_present(tls(json!({"Sid": "TerraformsTls"})));
        check_present(tls(json!({"Principal": {"AWS": "*"}})));
        check_present(tls(json!({"Principal": {"AWS": ["*"]}, "Action": ["S3:*"]})));
        check_present(tls(json!({"Resource": [format!("{BUCKET}/*"), BUCKET]})));
        check_present(tls(json!({"Condition": {"Bool": {"AWS:securetransport": [false]}}})));
        let mut unnamed = tls(json!({}));
        unnamed.as_object_mut().unwrap().remove("Sid");
        check_present(unnamed);
    }

    #[test]
    fn a_broader_statement_of_the_owners_is_enough() {
        check_present(tls(
            json!({"Sid": "Theirs", "Action": "*", "Resource": [BUCKET, format!("{BUCKET}/*"), format!("{BUCKET}/more")]}),
        ));
    }

    #[test]
    fn a_weaker_statement_of_the_owners_is_not_enough() {
        check_added(tls(json!({"Sid": "Theirs", "Action": "s3:GetObject"})));
        check_added(tls(json!({"Sid": "Theirs", "Resource": format!("{BUCKET}/*")})));
        check_added(tls(json!({"Sid": "Theirs", "Principal": {"AWS": "arn:aws:iam::111122223333:user/ann"}})));
        check_added(tls(json!({"Sid": "Theirs", "Effect": "Allow"})));
        check_added(tls(
            json!({"Sid": "Theirs", "Condition": {"Bool": {"aws:SecureTransport": "false"}, "StringEquals": {"aws:PrincipalTag/x": "y"}}}),
        ));
        check_added(tls(json!({"Sid": "Theirs", "NotAction": "s3:GetObject"})));
    }

    #[test]
    fn other_content_under_our_name_is_replaced_where_it_stands() {
        check_replaced(tls(json!({"Effect": "Allow"})));
        check_replaced(tls(json!({"Resource": BUCKET})));
        check_replaced(tls(json!({"Condition": {}})));
        // Both would have to hold, and never do.
        check_replaced(tls(
            json!({"Condition": {"Bool": {"aws:SecureTransport": "false", "AWS:SecureTransport": "true"}}}),
        ));
        check_replaced(tls(
            json!({"Condition": {"Bool": {"aws:SecureTransport": "false"}, "StringEquals": {"a": "b"}}}),
        ));
        check_replaced(tls(json!({"InventedIn2027": 1})));
        check_replaced(tls(json!({"Sid": "DenyInsecureTransport", "Action": "*"})));
    }

    #[test]
    fn the_wrong_key_is_replaced() {
        let mut statements = own();
        statements[3]["Condition"]["StringNotEquals"][SSE_KEY] =
            json!(["arn:aws:kms:eu-west-2:111122223333:key/k", "arn:aws:kms:eu-west-2:111122223333:key/other"]);
        assert_eq!(policy(&statements).requiring(&strict()), policy(&own()));
    }

    #[test]
    fn a_second_statement_under_our_name_is_removed() {
        let mut statements = own();
        statements.push(tls(json!({"Effect": "Allow"})));
        statements.push(tls(json!({})));
        assert_eq!(policy(&statements).requiring(&strict()), policy(&own()));
    }

    #[test]
    fn one_of_ours_under_the_name_of_another_counts_for_neither() {
        let misnamed = policy(&[tls(json!({"Sid": "DenyNotUsingKMS"}))]);
        let after = misnamed.requiring(&strict());
        assert!(after.statements.len() == 4 && strict().iter().all(|it| after.statements.contains(it)), "{after:?}");
        assert_eq!(after.requiring(&strict()), after);
    }

    #[test]
    fn a_forgery_under_our_name_goes_even_if_the_owner_says_the_same_elsewhere() {
        let (after, _) = with_first(tls(json!({"Effect": "Allow"})));
        let mut statements = own();
        statements[0] = tls(json!({"Effect": "Allow"}));
        statements.push(tls(json!({"Sid": "Theirs"})));
        let both = policy(&statements).requiring(&strict());
        assert_eq!(both.statements[..4], after.statements[..]);
    }

    #[test]
    fn what_is_not_ours_stays_to_the_letter() {
        let document = r#"{"Id":"x","Version":"2008-10-17","Statement":{"Sid":"A","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::acme-data/*"},"New":{"b":1,"a":[2]}}"#;
        let after = Policy::parse(document).unwrap().requiring(&strict()).to_json();
        assert_eq!(
            (&after["Id"], &after["Version"], &after["New"]),
            (&json!("x"), &json!("2008-10-17"), &json!({"b": 1, "a": [2]}))
        );
        assert_eq!(after["Statement"][0], serde_json::from_str::<Value>(document).unwrap()["Statement"]);
    }

    #[test]
    fn in_another_policy_a_statement_of_our_name_is_its_owners() {
        let required = [Statement(
            json!({"Sid": "GuardrailInventory", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "kms:GenerateDataKey", "Resource": "*"}),
        )];
        let owners: Vec<_> = OUR_SIDS
            .iter()
            .map(|sid| json!({"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}))
            .collect();
        let after = policy(&owners).requiring(&required);
        assert_eq!(after.statements[..5], policy(&owners).statements[..]);
        assert_eq!(after.statements[5..], required);
        let same = json!({"Sid": "DenyNotUsingKMS", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "kms:GenerateDataKey", "Resource": "*"});
        assert_eq!(
            policy(std::slice::from_ref(&same)).requiring(&required),
            policy(&[same]),
            "it says what we require"
        );
    }

    #[test]
    fn the_variants_replace_each_other() {
        let lenient = required(PolicyVariant::DefaultEncryption);
        let from_strict = policy(&own()).requiring(&lenient);
        let sids: Vec<_> = from_strict.statements.iter().filter_map(Statement::sid).collect();
        assert_eq!(sids, ["DenyInsecureTransport", "DenyNotUsingKMS", "DenyWrongKMSKey", "DenyKMSWithoutKeyId"]);
        assert!(lenient.iter().all(|it| from_strict.statements.contains(it)));
        let back = from_strict.requiring(&strict());
        assert!(strict().iter().all(|it| back.statements.contains(it)) && back.statements.len() == 4);
    }

    fn checked(statements: &[Value]) -> Result<(), PolicyRefusal> {
        let role = ROLE.parse().unwrap();
        check(&policy(statements).requiring(&strict()), &strict(), BUCKET, &role, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn twenty_kilobytes_fit_and_one_more_is_refused() {
        let statement = |bytes: usize| json!({"Sid": "Long", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject", "Resource": format!("{BUCKET}/{}", "x".repeat(bytes))});
        let rest = policy(&[statement(0)]).requiring(&strict()).document().len();
        assert_eq!(checked(&[statement(MAX_BYTES - rest)]), Ok(()));
        let refused = checked(&[statement(MAX_BYTES - rest + 1)]);
        assert_eq!(
            refused,
            Err(PolicyRefusal::TooLong { bytes: MAX_BYTES + 1, largest: "statement `Long`".to_owned() })
        );
    }

    #[test]
    fn a_document_that_locks_us_out_is_refused() {
        let deny = |changes: Value| {
            let mut statement =
                json!({"Sid": "Lock", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": BUCKET});
            for (key, value) in changes.as_object().unwrap() {
                statement[key] = value.clone();
            }
            statement.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            checked(&[statement])
        };
        for changes in [
            json!({}),
            json!({"Principal": {"AWS": "111122223333"}}),
            json!({"Principal": {"AWS": ["arn:aws:iam::111122223333:root"]}}),
            json!({"Principal": {"AWS": ROLE}}),
            json!({"Principal": {"AWS": "arn:aws:sts::111122223333:assumed-role/s3-guardrail-remediate-eu-west-2/guardrail-remediate"}}),
            json!({"Principal": null, "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:user/ann"}}),
            json!({"Action": ["s3:PutObject", "S3:putbucket*"]}),
            json!({"Action": "s3:Get?ucketPolicy"}),
            json!({"Resource": "*"}),
            json!({"Resource": "arn:aws:s3:::acme-*"}),
            json!({"Action": null, "NotAction": "s3:GetObject"}),
            json!({"Resource": null, "NotResource": format!("{BUCKET}/*")}),
            json!({"Condition": {}}),
            json!({"Condition": {"StringNotEqualsIfExists": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/ann"}}}),
            json!({"Condition": {"StringEquals": {"aws:PrincipalAccount": "111122223333"}, "Bool": {"aws:SecureTransport": "true"}}}),
            json!({"Condition": {"StringNotLike": {"aws:PrincipalArn": ["arn:aws:iam::111122223333:role/admin*"]}}}),
            json!({"Condition": {"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/ann"}}}),
            json!({"Condition": {"Bool": {"aws:SecureTransport": true}}}),
        ] {
            assert!(matches!(deny(changes.clone()), Err(PolicyRefusal::Lockout { .. })), "{changes}");
        }
        for changes in [
            json!({"Principal": {"AWS": "arn:aws:iam::111122223333:user/ann"}}),
            json!({"Principal": null, "NotPrincipal": {"AWS": [ROLE]}}),
            json!({"Action": "s3:PutObject"}),
            json!({"Resource": format!("{BUCKET}/*")}),
            json!({"Condition": {"StringNotLike": {"aws:PrincipalArn": ["arn:aws:iam::111122223333:role/s3-guardrail-*"]}}}),
            // Not known here; it was in force when we read the policy.
            json!({"Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}}),
            json!({"Condition": {"StringEquals": {"aws:PrincipalAccount": "111122223333"}, "IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}),
            json!({"Condition": {"StringNotEquals": {"aws:PrincipalAccount": "111122223333"}}}),
            json!({"Action": null, "NotAction": ["s3:*BucketPolicy"]}),
            json!({"Resource": null, "NotResource": "arn:aws:s3:::acme-*"}),
            json!({"Principal": {"AWS": "999922223333"}}),
            json!({"Principal": {"AWS": "arn:aws:iam::999922223333:role/s3-guardrail-remediate-eu-west-2"}}),
            json!({"Principal": {"Service": "cloudtrail.amazonaws.com"}}),
            json!({"Effect": "Allow"}),
        ] {
            assert_eq!(deny(changes.clone()), Ok(()), "{changes}");
        }
    }

    #[test]
    fn what_we_require_locks_nobody_out_in_any_partition() {
        for variant in [PolicyVariant::Strict, PolicyVariant::DefaultEncryption] {
            for partition in ["aws", "aws-cn", "aws-us-gov"] {
                let key = format!("arn:{partition}:kms:r:111122223333:key/k").parse().unwrap();
                let role =
                    format!("arn:{partition}:iam::111122223333:role/s3-guardrail-remediate-eu-west-2").parse().unwrap();
                let bucket = "acme-data".parse().unwrap();
                let required = super::required(variant, partition, &bucket, &key);
                let whole = Policy::default().requiring(&required);
                assert_eq!(
                    check(&whole, &required, &bucket_arn(partition, &bucket), &role, Timestamp::UNIX_EPOCH),
                    Ok(())
                );
                assert!(
                    required.iter().all(|it| it.sid().is_some_and(|sid| OUR_SIDS.contains(&sid))),
                    "ours to replace"
                );
            }
        }
    }

    #[test]
    fn dead_principals_are_named_and_can_be_dropped() {
        let dead = json!({"Sid": "Dead", "Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLE"}, "Action": "s3:*", "Resource": BUCKET});
        let half = json!({"Sid": "Half", "Effect": "Allow", "Principal": {"AWS": ["AIDAEXAMPLE", ROLE]}, "Action": "s3:*", "Resource": BUCKET});
        let is = policy(&[dead, half]);
        let told = suspects(&is, "MalformedPolicy").unwrap();
        assert!(told.contains("statement `Dead`, statement `Half`"), "{told}");
        let after = is.without_dead_principals();
        assert_eq!(after.statements.len(), 1);
        assert_eq!(after.statements[0].0["Principal"], json!({"AWS": [ROLE]}));
    }

    #[test]
    fn the_largest_statement_that_is_named_is_never_ours() {
        let long = json!({"Sid": "Long", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject", "Resource": format!("{BUCKET}/{}", "x".repeat(MAX_BYTES))});
        let mut statements = own();
        statements.push(long);
        // As S3 may give it back, and longer than any other.
        statements[0]["Resource"] = json!([format!("{BUCKET}/*"), BUCKET]);
        statements[0]["Action"] = json!(vec!["s3:*"; MAX_BYTES / 4]);
        let refused = checked(&statements).unwrap_err();
        assert!(refused.to_string().contains("statement `Long`"), "{refused}");
    }

    #[test]
    fn a_public_statement_is_named() {
        let public =
            json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": BUCKET});
        assert!(suspects(&policy(&[public]), "AccessDenied").unwrap().contains("a statement without Sid"));
        assert_eq!(suspects(&policy(&own()), "AccessDenied"), None);
    }
}
