//! Who owns new objects, and the ACL: read and written.

use aws_sdk_s3::{
    operation::get_bucket_acl::GetBucketAclOutput,
    types::{self, BucketCannedAcl, OwnershipControls, OwnershipControlsRule, Permission},
};
use guardrail_core::{
    control::object_ownership::ObjectOwnership,
    value::{
        failure::{ApiError, Read},
        grant::{Grant, Grantee},
        names::BucketName,
    },
};

use crate::{
    api::{built, done, output, unless_absent},
    clients::{Readers, Writers},
};

/// Reads who owns objects, and the ACL.
pub async fn read(readers: Readers<'_>, bucket: &BucketName) -> Read<ObjectOwnership> {
    // Both to their end: a request that is given up takes its connection with it.
    let (object_ownership, acl_grants) = tokio::join!(ownership_controls(readers, bucket), acl_grants(readers, bucket));
    Ok(ObjectOwnership { object_ownership: object_ownership?, acl_grants })
}

async fn ownership_controls(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<Option<String>> {
    let get = s3.get_bucket_ownership_controls().bucket(bucket.as_str());
    let output = unless_absent("GetBucketOwnershipControls", get.send().await, "OwnershipControlsNotFoundError")?;
    let rule = output.and_then(|it| it.ownership_controls).and_then(|it| it.rules.into_iter().next());
    Ok(rule.map(|it| it.object_ownership.as_str().to_owned()))
}

/// Reads the bucket's ACL, as it is.
pub async fn bucket_acl(Readers { s3, .. }: Readers<'_>, bucket: &BucketName) -> Read<GetBucketAclOutput> {
    let get = s3.get_bucket_acl().bucket(bucket.as_str());
    output("GetBucketAcl", get.send().await)
}

async fn acl_grants(readers: Readers<'_>, bucket: &BucketName) -> Read<Vec<Grant>> {
    let output = bucket_acl(readers, bucket).await?;
    let owner = output.owner().and_then(|it| it.id());
    let is_owners = |grant: &&types::Grant| {
        owner.is_some()
            && grant.grantee().and_then(|it| it.id()) == owner
            && grant.permission() == Some(&Permission::FullControl)
    };
    let others = output.grants().iter().filter(|it| !is_owners(it));
    Ok(others.map(grant).collect())
}

/// Takes everybody but the owner out of the ACL.
pub async fn put_private_acl(Writers { s3, .. }: &Writers, bucket: &BucketName) -> Result<(), ApiError> {
    let put = s3.put_bucket_acl().bucket(bucket.as_str());
    match done("PutBucketAcl", put.acl(BucketCannedAcl::Private).send().await) {
        // Somebody turned ACLs off since we read.
        Err(error) if error.code() == Some("AccessControlListNotSupported") => Ok(()),
        other => other,
    }
}

fn grant(given: &types::Grant) -> Grant {
    let grantee = given.grantee();
    let uri = grantee.and_then(|it| it.uri()).map(|it| Grantee::Group(it.to_owned()));
    let id = || grantee.and_then(|it| it.id()).map(|it| Grantee::Account(it.to_owned()));
    let email = || grantee.and_then(|it| it.email_address()).map(|it| Grantee::Email(it.to_owned()));
    Grant {
        grantee: uri.or_else(id).or_else(email).unwrap_or_else(|| Grantee::Account("unknown".to_owned())),
        permission: given.permission().map_or("unknown", Permission::as_str).to_owned(),
    }
}

/// Puts an ACL: the owner's full control, and these grants.
pub async fn put_acl(writers: &Writers, bucket: &BucketName, grants: &[Grant]) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketAcl";
    let owner = bucket_acl(writers.readers(), bucket).await?.owner.and_then(|it| it.id);
    let owner = owner.ok_or_else(|| ApiError::new("GetBucketAcl", "it names no owner"))?;
    let given = |permission: &str| {
        let of_owner = (permission == "FULL_CONTROL").then(|| format!("id=\"{owner}\""));
        let others = grants.iter().filter(|it| it.permission == permission).map(|it| match &it.grantee {
            Grantee::Group(uri) => format!("uri=\"{uri}\""),
            Grantee::Email(email) => format!("emailAddress=\"{email}\""),
            Grantee::Account(id) => format!("id=\"{id}\""),
        });
        Some(of_owner.into_iter().chain(others).collect::<Vec<_>>().join(", ")).filter(|it| !it.is_empty())
    };
    let put = writers.s3.put_bucket_acl().bucket(bucket.as_str());
    let put = put.set_grant_full_control(given("FULL_CONTROL")).set_grant_read(given("READ"));
    let put = put.set_grant_write(given("WRITE")).set_grant_read_acp(given("READ_ACP"));
    done(OPERATION, put.set_grant_write_acp(given("WRITE_ACP")).send().await)
}

/// Writes who owns new objects.
pub async fn put_ownership(
    Writers { s3, .. }: &Writers,
    bucket: &BucketName,
    ownership: types::ObjectOwnership,
) -> Result<(), ApiError> {
    const OPERATION: &str = "PutBucketOwnershipControls";
    let rule = OwnershipControlsRule::builder().object_ownership(ownership);
    let rule = built(OPERATION, rule.build())?;
    let controls = built(OPERATION, OwnershipControls::builder().rules(rule).build())?;
    let put = s3.put_bucket_ownership_controls().bucket(bucket.as_str());
    done(OPERATION, put.ownership_controls(controls).send().await)
}

/// Puts both back to what they were, ACLs first: while they are off, nobody can be granted anything.
pub async fn put_back(writers: &Writers, bucket: &BucketName, was: &ObjectOwnership) -> Result<(), ApiError> {
    match &was.object_ownership {
        Some(ownership) => put_ownership(writers, bucket, ownership.as_str().into()).await?,
        None => {
            let sent = writers.s3.delete_bucket_ownership_controls().bucket(bucket.as_str()).send().await;
            done("DeleteBucketOwnershipControls", sent)?;
        }
    }
    match &was.acl_grants {
        Ok(grants) if !grants.is_empty() => put_acl(writers, bucket, grants).await,
        Ok(_) | Err(_) => Ok(()),
    }
}
