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
