//! The inventory configuration: how it is broken, read and sent.

use aws_sdk_s3::Client;
use guardrail_core::control::inventory::{INVENTORY_ID, Inventory, ReportEncryption};

use crate::{
    control::{Broken, done, text},
    fake::World,
};

pub const SUBRESOURCE: &str = "inventory";

pub const COMMAND: &str = "delete-bucket-inventory-configuration --id encryption-and-replication";

pub async fn break_it(s3: &Client, bucket: &str) -> Broken {
    done(s3.delete_bucket_inventory_configuration().bucket(bucket).id(INVENTORY_ID).send().await)
}

pub async fn setting(s3: &Client, bucket: &str) -> String {
    let sent = s3.get_bucket_inventory_configuration().bucket(bucket).id(INVENTORY_ID).send().await;
    text(sent.map(|it| it.inventory_configuration))
}

pub fn drifted(world: &mut World) {
    world.set("inventory", None);
}

pub fn put(world: &mut World, inventory: &Option<Inventory>) {
    world.set("inventory", inventory.as_ref().map(document));
}

fn document(inventory: &Inventory) -> String {
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
