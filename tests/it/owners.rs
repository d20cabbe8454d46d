//! What an owner has put beside the baseline, wherever a write of ours could lose it.

use guardrail_tests::fake::{ACCOUNT, BUCKET, World};
use serde_json::{Value, json};

/// A lifecycle rule with something that nobody knows yet.
pub(crate) const RULE: &str = "<Rule><ID>theirs</ID><Filter><Prefix>a/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>9</Days></Expiration><InventedIn2027>x</InventedIn2027></Rule>";

/// A statement of the bucket policy.
pub(crate) fn statement() -> Value {
    json!({"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/*")})
}

/// A statement of the key's policy.
pub(crate) fn key_statement() -> Value {
    json!({"Sid": "Administrators", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Action": "kms:*", "Resource": "*"})
}

/// A selector of the trail.
pub(crate) fn selector() -> Value {
    json!({"Name": "theirs", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::Lambda::Function"]}]})
}

/// An inventory that comes too seldom, with a prefix and a field of the owner's choice.
pub(crate) fn inventory() -> String {
    format!(
        "<InventoryConfiguration><Id>encryption-and-replication</Id><IsEnabled>true</IsEnabled>\
         <Destination><S3BucketDestination><AccountId>{ACCOUNT}</AccountId><Bucket>arn:aws:s3:::{BUCKET}-inventory</Bucket>\
         <Format>CSV</Format><Prefix>reports</Prefix></S3BucketDestination></Destination>\
         <Schedule><Frequency>Weekly</Frequency></Schedule><IncludedObjectVersions>All</IncludedObjectVersions>\
         <OptionalFields><Field>Size</Field></OptionalFields></InventoryConfiguration>"
    )
}

/// Whether all of it is still there.
pub(crate) fn keeps_everything(world: &World) -> bool {
    let document = |name: &str| world.bucket.as_ref().and_then(|it| it.get(name)).map_or("", String::as_str);
    let statements = |policy: &str| -> Value {
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        policy["Statement"].clone()
    };
    let has = |all: &Value, one: Value| all.as_array().is_some_and(|it| it.contains(&one));
    let inventory = document("inventory");
    has(&statements(document("policy")), statement())
        && document("lifecycle").contains(RULE)
        && world.transition_size.as_deref() == Some("varies_by_storage_class")
        && inventory.contains("<Format>CSV</Format>")
        && inventory.contains("<Prefix>reports</Prefix>")
        && inventory.contains("<Field>Size</Field>")
        && world.key.as_ref().is_some_and(|it| has(&statements(&it.policy), key_statement()))
        && world.trail.as_ref().is_none_or(|it| {
            // A trail that had to be made again has none.
            it["S3BucketName"] != "central-logs" || has(&it["AdvancedEventSelectors"], selector())
        })
}
