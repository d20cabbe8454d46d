//! Who owns objects, and the ACL: how they are broken, read and sent.

use aws_sdk_s3::{
    Client,
    types::{ObjectOwnership as Ownership, OwnershipControls, OwnershipControlsRule},
};
use guardrail_core::{control::object_ownership::ObjectOwnership, value::grant::Grant};

use crate::{
    control::{Broken, done, text},
    fake::{World, acl},
};

pub const SUBRESOURCE: &str = "ownershipControls";

pub const COMMAND: &str = "put-bucket-ownership-controls --ownership-controls 'Rules=[{ObjectOwnership=ObjectWriter}]'";

pub async fn break_it(s3: &Client, bucket: &str) -> Broken {
    let rule = OwnershipControlsRule::builder().object_ownership(Ownership::ObjectWriter).build();
    let controls = OwnershipControls::builder().rules(rule.expect("complete")).build().expect("complete");
    done(s3.put_bucket_ownership_controls().bucket(bucket).ownership_controls(controls).send().await)
}

pub async fn setting(s3: &Client, bucket: &str) -> String {
    text(s3.get_bucket_ownership_controls().bucket(bucket).send().await.map(|it| it.ownership_controls))
}

pub fn drifted(world: &mut World) {
    let everyone = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>";
    world.set("ownershipControls", None);
    world.set("acl", Some(acl(everyone)));
}

pub fn put(world: &mut World, ownership: &ObjectOwnership) {
    let controls = ownership.object_ownership.as_ref().map(|it| {
        format!("<OwnershipControls><Rule><ObjectOwnership>{it}</ObjectOwnership></Rule></OwnershipControls>")
    });
    world.set("ownershipControls", controls);
    // Nobody is granted anything while ACLs are off.
    let grants = ownership.acl_grants.iter().flatten().filter(|_| !ownership.is_enforced());
    let grants: String = grants
        .map(|Grant { grantee, permission }| (grantee.as_str(), permission))
        .map(|(id, permission)| format!("<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>{id}</ID></Grantee><Permission>{permission}</Permission></Grant>"))
        .collect();
    world.set("acl", (!grants.is_empty()).then(|| acl(&grants)));
}
