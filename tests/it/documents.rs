//! The settings of a model as AWS shows them: the fake's documents.

use guardrail_core::{
    control::{
        default_encryption::DefaultEncryption,
        inventory::{Inventory, ReportEncryption},
        kms_key::{KeyState, KmsKey},
        public_access_block::PublicAccessBlock,
        table::Control,
        trail::Trail,
    },
    value::{grant::Grant, policy::Policy},
};
use guardrail_tests::fake::{FakeKey, TRAIL, World, acl};
use serde_json::{Value, json};

use crate::convergence::Model;

/// Makes a control's part of the world what it is in a model.
pub(crate) fn put(world: &mut World, model: &Model, control: Control) {
    let bucket = world.bucket.get_or_insert_default();
    let mut set = |name: &str, document: Option<String>| match document {
        Some(document) => drop(bucket.insert(name.to_owned(), document)),
        None => drop(bucket.remove(name)),
    };
    match control {
        Control::PublicAccessBlock => set("publicAccessBlock", public_access_block(model.public_access_block)),
        Control::ObjectOwnership => {
            let ownership = &model.object_ownership;
            set(
                "ownershipControls",
                ownership.object_ownership.as_ref().map(|it| {
                    format!(
                        "<OwnershipControls><Rule><ObjectOwnership>{it}</ObjectOwnership></Rule></OwnershipControls>"
                    )
                }),
            );
            // Nobody is granted anything while ACLs are off.
            let grants = ownership.acl_grants.iter().flatten().filter(|_| !ownership.is_enforced());
            let grants: String = grants
                .map(|Grant { grantee, permission }| (grantee.as_str(), permission))
                .map(|(id, permission)| format!("<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>{id}</ID></Grantee><Permission>{permission}</Permission></Grant>"))
                .collect();
            set("acl", (!grants.is_empty()).then(|| acl(&grants)));
        }
        Control::BucketPolicy => {
            set("policy", (!model.bucket_policy.statements.is_empty()).then(|| model.bucket_policy.document()));
        }
        Control::DefaultEncryption => set("encryption", default_encryption(&model.default_encryption)),
        Control::Versioning => {
            let status = model.versioning.status.iter().map(|it| format!("<Status>{it}</Status>")).collect::<String>();
            let mfa_delete = if model.versioning.mfa_delete { "<MfaDelete>Enabled</MfaDelete>" } else { "" };
            set("versioning", Some(format!("<VersioningConfiguration>{status}{mfa_delete}</VersioningConfiguration>")));
        }
        Control::Lifecycle => {
            set("lifecycle", (!model.lifecycle.rules.is_empty()).then(|| model.lifecycle.document()));
            world.transition_size.clone_from(&model.lifecycle.transition_default_minimum_object_size);
        }
        Control::Inventory => set("inventory", model.inventory.as_ref().map(inventory)),
        Control::KmsKey => world.key = Some(kms_key(&model.kms_key)),
        Control::Trail => world.trail = model.trail.as_ref().map(trail),
    }
}

fn public_access_block(block: PublicAccessBlock) -> Option<String> {
    let PublicAccessBlock { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets } =
        block;
    (block != PublicAccessBlock::default()).then(|| {
        format!(
            "<PublicAccessBlockConfiguration><BlockPublicAcls>{block_public_acls}</BlockPublicAcls>\
             <IgnorePublicAcls>{ignore_public_acls}</IgnorePublicAcls><BlockPublicPolicy>{block_public_policy}</BlockPublicPolicy>\
             <RestrictPublicBuckets>{restrict_public_buckets}</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
        )
    })
}

fn default_encryption(encryption: &DefaultEncryption) -> Option<String> {
    let DefaultEncryption { algorithm, kms_key, bucket_key, blocked } = encryption;
    // S3 always has one; what the fake shows for none is SSE-S3.
    let algorithm = algorithm.as_ref()?;
    let key = kms_key.iter().map(|it| format!("<KMSMasterKeyID>{it}</KMSMasterKeyID>")).collect::<String>();
    let blocked: String = blocked.iter().map(|it| format!("<EncryptionType>{it}</EncryptionType>")).collect();
    Some(format!(
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>{key}\
         </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>{bucket_key}</BucketKeyEnabled>\
         <BlockedEncryptionTypes>{blocked}</BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>"
    ))
}

fn inventory(inventory: &Inventory) -> String {
    let Inventory {
        is_enabled,
        included_object_versions,
        frequency,
        format,
        bucket,
        account_id,
        prefix,
        encryption,
        filter_prefix,
        optional_fields,
    } = inventory;
    let element =
        |name: &str, text: &Option<String>| text.iter().map(|it| format!("<{name}>{it}</{name}>")).collect::<String>();
    let encryption = match encryption {
        ReportEncryption::Absent => String::new(),
        ReportEncryption::S3 => "<Encryption><SSE-S3/></Encryption>".to_owned(),
        ReportEncryption::Kms(key) => format!("<Encryption><SSE-KMS><KeyId>{key}</KeyId></SSE-KMS></Encryption>"),
    };
    let filter = filter_prefix.iter().map(|it| format!("<Filter><Prefix>{it}</Prefix></Filter>")).collect::<String>();
    let fields: String = optional_fields.iter().map(|it| format!("<Field>{it}</Field>")).collect();
    format!(
        "<InventoryConfiguration><Id>encryption-and-replication</Id><IsEnabled>{is_enabled}</IsEnabled>{filter}\
         <Destination><S3BucketDestination>{}<Bucket>{bucket}</Bucket><Format>{format}</Format>{}{encryption}\
         </S3BucketDestination></Destination><Schedule><Frequency>{frequency}</Frequency></Schedule>\
         <IncludedObjectVersions>{included_object_versions}</IncludedObjectVersions>\
         <OptionalFields>{fields}</OptionalFields></InventoryConfiguration>",
        element("AccountId", account_id),
        element("Prefix", prefix),
    )
}

fn kms_key(key: &KmsKey) -> FakeKey {
    let KmsKey { state, purpose: _, rotation, alias_target, policy, unread: _ } = key;
    let alias = |target: &String| ("alias/s3-secure-data".to_owned(), target.clone());
    FakeKey {
        // What is being created passes by itself, and cannot be changed until then.
        state: if *state == KeyState::Creating { "Enabled" } else { state.as_str() }.to_owned(),
        // Here are only keys that can rotate.
        rotation: *rotation == Some(true),
        policy: key_policy(policy),
        tags: json!([]),
        aliases: alias_target.iter().map(alias).collect(),
        ..FakeKey::good()
    }
}

/// A key always has a policy.
fn key_policy(policy: &Policy) -> String {
    match policy.to_json() {
        Value::Null => json!({"Version": "2012-10-17", "Statement": []}).to_string(),
        document => document.to_string(),
    }
}

fn trail(trail: &Trail) -> Value {
    let Trail { is_logging, is_multi_region_trail, log_file_validation_enabled, kms_key_id, s3_bucket_name, .. } =
        trail;
    let basic = trail.selectors.basic().iter().map(|it| {
        let resources = it.data_resources.iter().map(|it| json!({"Type": it.0, "Values": it.1}));
        json!({
            "ReadWriteType": it.read_write_type, "IncludeManagementEvents": it.include_management_events,
            "DataResources": resources.collect::<Vec<_>>(), "ExcludeManagementEventSources": it.exclude_management_event_sources,
        })
    });
    json!({
        "TrailARN": TRAIL, "IsLogging": is_logging, "IsMultiRegionTrail": is_multi_region_trail,
        "EnableLogFileValidation": log_file_validation_enabled, "KmsKeyId": kms_key_id, "S3BucketName": s3_bucket_name,
        "EventSelectors": basic.collect::<Vec<_>>(), "AdvancedEventSelectors": trail.selectors.advanced(),
    })
}
