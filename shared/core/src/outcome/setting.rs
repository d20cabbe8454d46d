//! A setting as it was or is, whichever control's it is.

use serde_json::Value;

use crate::control::{
    setting::{BucketSetting, SettingError},
    table::Control,
};

macro_rules! setting {
    ($($name:ident $field:ident $value:ty,)*) => {
        /// A setting of a bucket's own as it was, or is.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Setting {
            $($name($value),)*
        }

        impl Setting {
            /// Reads what a record holds; `None` when it is not a setting of the bucket's own.
            pub fn from_record(control: Control, record: &Value) -> Result<Option<Self>, SettingError> {
                Ok(Some(match control {
                    $(Control::$name => Self::$name(BucketSetting::from_record(record)?),)*
                    Control::KmsKey | Control::Trail => return Ok(None),
                }))
            }

            /// As a record holds it, so that all of it can be read again.
            pub fn to_record(&self) -> Value {
                match self {
                    $(Self::$name(it) => BucketSetting::to_record(it),)*
                }
            }

            /// In AWS's words, for people.
            pub fn to_json(&self) -> Value {
                match self {
                    $(Self::$name(it) => BucketSetting::to_json(it),)*
                }
            }

            /// The same as far as S3 lets anybody go back.
            #[must_use]
            pub fn reachable(self) -> Self {
                match self {
                    $(Self::$name(it) => Self::$name(it.reachable()),)*
                }
            }

            /// Whether both mean the same to S3, which may send back other words than it got, and adds its defaults.
            pub fn is(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$name(one), Self::$name(other)) => BucketSetting::is(one, other),)*
                    _ => false,
                }
            }

            /// The same, in the words of another as far as they say the same: what is left to be seen differs.
            #[must_use]
            pub fn in_words_of(&self, other: &Self) -> Self {
                match (self, other) {
                    $((Self::$name(one), Self::$name(other)) => Self::$name(BucketSetting::in_words_of(one, other)),)*
                    _ => self.clone(),
                }
            }

            /// Whether this is what a rollback to `before` that did not get to its end leaves.
            pub fn is_halfway_to(&self, before: &Self) -> bool {
                match (self, before) {
                    $((Self::$name(now), Self::$name(before)) => now.is_halfway_to(before),)*
                    _ => false,
                }
            }
        }
    };
}

crate::for_settings_of_buckets!(setting);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        control::{
            default_encryption::DefaultEncryption,
            inventory::{Inventory, ReportEncryption},
            lifecycle::Lifecycle,
            object_ownership::ObjectOwnership,
            public_access_block::PublicAccessBlock,
            versioning::Versioning,
        },
        outcome::observed::Observed,
        value::policy::Policy,
    };

    const RULE: &str = "<Rule><ID>a</ID><Prefix/><Status>Enabled</Status></Rule>";

    fn lifecycle(rules: &str, size: Option<&str>) -> Lifecycle {
        let document = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
        Lifecycle::parse(&document, size.map(str::to_owned)).unwrap()
    }

    fn policy(version: &str) -> Policy {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": ["s3:GetObject"], "Resource": "*"});
        Policy::parse(&json!({"Version": version, "Statement": [statement]}).to_string()).unwrap()
    }

    /// One of each that says something.
    fn some() -> Vec<Setting> {
        let observed = Observed {
            public_access_block: Ok(PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() }),
            object_ownership: Ok(ObjectOwnership::enforced()),
            bucket_policy: Ok(policy("2012-10-17")),
            default_encryption: Ok(DefaultEncryption {
                algorithm: Some("AES256".to_owned()),
                ..DefaultEncryption::default()
            }),
            versioning: Ok(Versioning { status: Some("Enabled".to_owned()), mfa_delete: true }),
            lifecycle: Ok(lifecycle(RULE, Some("varies_by_storage_class"))),
            inventory: Ok(Some(Inventory {
                is_enabled: true,
                included_object_versions: "All".to_owned(),
                frequency: "Daily".to_owned(),
                format: "CSV".to_owned(),
                bucket: "arn:aws:s3:::lists".to_owned(),
                account_id: None,
                prefix: Some("p".to_owned()),
                encryption: ReportEncryption::S3,
                filter_prefix: None,
                optional_fields: ["Size".to_owned()].into(),
            })),
        };
        settings(observed)
    }

    fn settings(observed: Observed) -> Vec<Setting> {
        observed.settings().into_iter().map(|it| it.1.unwrap()).collect()
    }

    #[test]
    fn what_a_record_holds_is_read_again_whole() {
        for (control, setting) in Control::OF_BUCKET
            .into_iter()
            .zip(some())
            .chain(Control::OF_BUCKET.into_iter().zip(settings(Observed::empty())))
        {
            let read = Setting::from_record(control, &setting.to_record()).unwrap();
            assert_eq!(read.as_ref(), Some(&setting));
            assert!(Setting::from_record(control, &json!(1)).is_err(), "{control}");
        }
        for control in [Control::KmsKey, Control::Trail] {
            assert_eq!(Setting::from_record(control, &Value::Null).unwrap(), None);
        }
    }

    #[test]
    fn people_see_a_setting_in_awss_words() {
        let lines = |all: Vec<Setting>| all.iter().map(|it| format!("{}\n", it.to_json())).collect::<String>();
        expect_test::expect![[r#"
            {"BlockPublicAcls":true,"IgnorePublicAcls":false,"BlockPublicPolicy":false,"RestrictPublicBuckets":false}
            {"ObjectOwnership":"BucketOwnerEnforced","AclGrants":[]}
            {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["s3:GetObject"],"Resource":"*"}]}
            {"SSEAlgorithm":"AES256","KMSMasterKeyID":null,"BucketKeyEnabled":false,"BlockedEncryptionTypes":[]}
            {"Status":"Enabled","MFADelete":true}
            {"Rules":[{"ID":"a","Prefix":"","Status":"Enabled"}],"TransitionDefaultMinimumObjectSize":"varies_by_storage_class"}
            {"IsEnabled":true,"IncludedObjectVersions":"All","Frequency":"Daily","Format":"CSV","Bucket":"arn:aws:s3:::lists","AccountId":null,"Prefix":"p","Encryption":"SSE-S3","FilterPrefix":null,"OptionalFields":["Size"]}
        "#]].assert_eq(&lines(some()));
        expect_test::expect![[r#"
            {"BlockPublicAcls":false,"IgnorePublicAcls":false,"BlockPublicPolicy":false,"RestrictPublicBuckets":false}
            {"ObjectOwnership":null,"AclGrants":[]}
            null
            {"SSEAlgorithm":null,"KMSMasterKeyID":null,"BucketKeyEnabled":false,"BlockedEncryptionTypes":[]}
            {"Status":null,"MFADelete":false}
            {"Rules":[]}
            null
        "#]]
        .assert_eq(&lines(settings(Observed::empty())));
    }

    #[test]
    fn a_setting_is_what_means_the_same_to_s3() {
        for (index, one) in some().iter().enumerate() {
            for (place, other) in some().iter().enumerate() {
                assert_eq!(one.is(other), index == place, "{one:?} {other:?}");
            }
            for unset in settings(Observed::empty()) {
                assert!(!one.is(&unset) && !unset.is(one), "{one:?} {unset:?}");
            }
        }
        let filtered = lifecycle(&RULE.replace("<Prefix/>", "<Filter/>"), Some("varies_by_storage_class"));
        let (filtered, prefixed) = (Setting::Lifecycle(filtered), some().remove(5));
        assert!(filtered.is(&prefixed) && filtered != prefixed);
        assert_eq!(filtered.in_words_of(&prefixed), prefixed);
        let listed = policy("2012-10-17").document().replace(r#"["s3:GetObject"]"#, r#""s3:GetObject""#);
        let (listed, single) = (Setting::BucketPolicy(Policy::parse(&listed).unwrap()), some().remove(2));
        assert!(listed.is(&single) && listed != single);
        assert_eq!(listed.in_words_of(&single), single);
        assert_eq!(listed.in_words_of(&prefixed), listed, "nothing of another control");
        assert_eq!(some()[4].in_words_of(&Setting::Versioning(Versioning::default())), some()[4]);
    }

    #[test]
    fn only_versioning_has_a_past_that_stays() {
        let unset = settings(Observed::empty());
        for setting in some().into_iter().chain(unset) {
            let reachable = setting.clone().reachable();
            match &setting {
                Setting::Versioning(Versioning { status: None, mfa_delete }) => {
                    let suspended = Versioning { status: Some("Suspended".to_owned()), mfa_delete: *mfa_delete };
                    assert_eq!(reachable, Setting::Versioning(suspended));
                }
                other => assert_eq!(&reachable, other),
            }
        }
    }

    #[test]
    fn only_acls_are_put_back_in_two_steps() {
        let grants = Ok(vec!["a READ".parse().unwrap()]);
        let before = Setting::ObjectOwnership(ObjectOwnership { object_ownership: None, acl_grants: grants });
        let halfway = |now: &Setting| now.is_halfway_to(&before);
        assert!(halfway(&settings(Observed::empty())[1]));
        assert!(!some().iter().any(halfway));
        assert!(!some().iter().any(|it| it.is_halfway_to(it) && !matches!(it, Setting::ObjectOwnership(_))));
    }
}
