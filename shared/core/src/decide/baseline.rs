//! What a bucket's settings are and what they should be, as plain values. Pure.

use crate::{
    control::{
        bucket_policy,
        inventory::RequiredInventory,
        kms_key::{self, Duty, RequiredKey, Served},
        lifecycle::{self, RequiredRule},
        trail::RequiredTrail,
    },
    edge::registry::{Registration, RegistryError},
    value::{
        names::{AccountId, KeyArn, RoleArn, bucket_arn},
        policy::Statement,
    },
};

/// The desired state of every control of one bucket.
#[derive(Clone, Debug)]
pub struct Baseline {
    pub bucket_arn: String,
    pub account: AccountId,
    pub key: KeyArn,
    pub policy: Vec<Statement>,
    pub drop_dead_principals: bool,
    pub lifecycle: [RequiredRule; 2],
    pub inventory: RequiredInventory,
    /// `None`: the key is another account's, and so not ours to keep.
    pub kms_key: Option<RequiredKey>,
    /// `None`: the registry names no trail, or one of another account, such as the organization's.
    pub trail: Option<RequiredTrail>,
    /// Our own role, which no policy that we write may lock out.
    pub role: RoleArn,
}

impl Baseline {
    /// What the registry says of a bucket, spelled out. `owner`: the account we are in.
    pub fn new(registration: &Registration, owner: &AccountId, role: &RoleArn) -> Result<Self, RegistryError> {
        let Registration { bucket, account, key_arn, lifecycle, policy, drop_dead_principals, .. } = registration;
        if account != owner {
            // S3 lets nobody else write a bucket's policy.
            return Err(
                registration.invalid(format!("account: the guardrail is in {owner} and guards no bucket of {account}"))
            );
        }
        let partition = key_arn.parts().partition;
        let own = |account: &str| account == owner.as_str();
        let trail_arn = registration.trail_arn.as_ref().filter(|it| own(it.parts().account));
        let trail = trail_arn.map(|arn| {
            Ok::<_, RegistryError>(RequiredTrail {
                arn: arn.clone(),
                key: key_arn.clone(),
                log_bucket: registration.log_bucket()?,
                objects: vec![format!("{}/", bucket_arn(partition, bucket))],
            })
        });
        let kms_key = own(key_arn.parts().account).then(|| RequiredKey {
            arn: key_arn.clone(),
            duty: Duty::Encrypt,
            alias: registration.key_alias.clone(),
            statements: kms_key::service_statements(partition, owner, trail_arn),
            serves: vec![Served { bucket_arn: bucket_arn(partition, bucket), trail: trail_arn.cloned() }],
        });
        Ok(Self {
            bucket_arn: bucket_arn(partition, bucket),
            account: account.clone(),
            key: key_arn.clone(),
            policy: bucket_policy::required(*policy, partition, bucket, key_arn),
            drop_dead_principals: *drop_dead_principals,
            lifecycle: lifecycle::required(*lifecycle),
            inventory: RequiredInventory {
                bucket_arn: bucket_arn(partition, &registration.inventory_bucket()?),
                account: account.clone(),
                key: key_arn.clone(),
                format: registration.inventory.format,
            },
            kms_key,
            trail: trail.transpose()?,
            role: role.clone(),
        })
    }
}

impl Baseline {
    /// The same bucket with a key that it had before, if that is ours to keep; only the key is asked for then.
    pub fn with_former_key(&self, key: &KeyArn) -> Option<Self> {
        let is_own = key.parts().account == self.account.as_str();
        let required = || RequiredKey {
            arn: key.clone(),
            duty: Duty::Decrypt,
            alias: None,
            statements: Vec::new(),
            serves: vec![Served { bucket_arn: self.bucket_arn.clone(), trail: None }],
        };
        is_own.then(|| Self { kms_key: Some(required()), trail: None, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_key_is_ours_to_keep_in_our_account_only() {
        let key = |account: &str| format!("arn:aws:kms:eu-west-2:{account}:key/former").parse().unwrap();
        let owner: AccountId = "111122223333".parse().unwrap();
        let now = "arn:aws:kms:eu-west-2:111122223333:key/k".parse().unwrap();
        let registration = Registration {
            trail_arn: "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t".parse().ok(),
            ..Registration::new("acme-data".parse().unwrap(), owner.clone(), now)
        };
        let role = "arn:aws:iam::111122223333:role/guardrail".parse().unwrap();
        let baseline = Baseline::new(&registration, &owner, &role).unwrap();
        let former = baseline.with_former_key(&key("111122223333")).unwrap();
        let required = former.kms_key.unwrap();
        assert_eq!((required.arn, required.duty, required.alias), (key("111122223333"), Duty::Decrypt, None));
        assert!(former.trail.is_none() && baseline.trail.is_some(), "only the key is asked for");
        assert!(baseline.with_former_key(&key("999922223333")).is_none());
    }
}
