//! What AWS says of a bucket, its key and its trail now.

use crate::{
    control::{kms_key::KmsKey, setting::BucketSetting, table::Control, trail::Trail},
    outcome::setting::Setting,
    value::failure::{ApiError, Read},
};

/// What was looked at, and what AWS says of it now. `None`: not looked at this time, or not ours to keep.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub bucket: Option<Observed>,
    pub kms_key: Option<Read<KmsKey>>,
    /// A trail that does not exist is no trail.
    pub trail: Option<Read<Option<Trail>>>,
}

impl Observation {
    /// The bucket does not exist.
    pub fn is_gone(&self) -> bool {
        self.bucket.as_ref().is_some_and(Observed::is_gone)
    }
}

impl From<Observed> for Observation {
    fn from(bucket: Observed) -> Self {
        Self { bucket: Some(bucket), ..Self::default() }
    }
}

macro_rules! observed {
    ($($name:ident $field:ident $value:ty,)*) => {
        /// What AWS says of a bucket's own settings now: one field per control.
        #[derive(Clone, Debug)]
        pub struct Observed {
            $(pub $field: Read<$value>,)*
        }

        impl Observed {
            /// A bucket without any setting.
            pub fn empty() -> Self {
                Self { $($field: Ok(BucketSetting::unset()),)* }
            }

            /// Why each setting could not be read.
            pub fn errors(&self) -> [(Control, Option<&ApiError>); Control::OF_BUCKET.len()] {
                [$((Control::$name, self.$field.as_ref().err()),)*]
            }

            /// The settings, in restore order; an error where one could not be read.
            pub fn settings(self) -> [(Control, Read<Setting>); Control::OF_BUCKET.len()] {
                [$((Control::$name, self.$field.map(Setting::$name)),)*]
            }
        }
    };
}

crate::for_settings_of_buckets!(observed);

impl Observed {
    /// The bucket does not exist: all reads say so. If only some do, something else is going on, and it stays unknown.
    pub fn is_gone(&self) -> bool {
        self.errors().into_iter().all(|(_, error)| error.is_some_and(ApiError::is_gone))
    }

    /// Some reads say that the bucket does not exist, and others do not.
    pub fn is_partly_gone(&self) -> bool {
        self.errors().into_iter().filter_map(|(_, error)| error).any(ApiError::is_gone) && !self.is_gone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::failure::Answer;

    #[test]
    fn a_bucket_of_which_only_some_reads_are_gone_is_neither_there_nor_gone() {
        let refused = |code: &str| {
            let answer = Answer { arrived: true, code: Some(code), ..Answer::default() };
            ApiError::answered("Get", answer, &std::fmt::Error)
        };
        let gone = || Observed {
            public_access_block: Err(refused("NoSuchBucket")),
            object_ownership: Err(refused("NoSuchBucket")),
            bucket_policy: Err(refused("NoSuchBucket")),
            default_encryption: Err(refused("NoSuchBucket")),
            versioning: Err(refused("NoSuchBucket")),
            lifecycle: Err(refused("NoSuchBucket")),
            inventory: Err(refused("NoSuchBucket")),
        };
        for (observed, is_gone, is_partly_gone) in [
            (gone(), true, false),
            (Observed { versioning: Ok(BucketSetting::unset()), ..gone() }, false, true),
            (Observed { versioning: Err(refused("AccessDenied")), ..gone() }, false, true),
            (Observed { versioning: Err(refused("AccessDenied")), ..Observed::empty() }, false, false),
            (Observed::empty(), false, false),
        ] {
            assert_eq!((observed.is_gone(), observed.is_partly_gone()), (is_gone, is_partly_gone), "{observed:?}");
            assert_eq!(Observation::from(observed).is_gone(), is_gone);
        }
        assert!(!Observation::default().is_gone(), "it was not looked at");
    }
}
