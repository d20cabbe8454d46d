//! Names that AWS gives things, parsed once at the edge.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct NameError {
    text: String,
    expected: &'static str,
}

impl NameError {
    pub fn new(text: &str, expected: &'static str) -> Self {
        // The text comes from strangers and ends up in logs and alerts.
        let text = text.chars().filter(|c| !c.is_control()).take(80).collect();
        Self { text, expected }
    }
}

/// A general purpose bucket's name.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
///
/// Names of before 2018 in us-east-1 (capitals, underscores, 255 characters) are refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct BucketName(String);

impl FromStr for BucketName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let valid = (3..=63).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-')
            && edge(text.chars().next())
            && edge(text.chars().next_back())
            && !text.contains("..")
            && text.parse::<std::net::Ipv4Addr>().is_err();
        if valid { Ok(Self(text.to_owned())) } else { Err(NameError::new(text, "a bucket name")) }
    }
}

/// Whether CloudTrail takes it for a trail's name.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-trail-naming-requirements.html>
pub fn is_trail_name(text: &str) -> bool {
    let separates = |c: char| "._-".contains(c);
    (3..=128).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || separates(c))
        && !text.starts_with(separates)
        && !text.ends_with(separates)
        && !text.chars().zip(text.chars().skip(1)).any(|(a, b)| separates(a) && separates(b))
        && text.parse::<std::net::Ipv4Addr>().is_err()
}

/// The default name of a bucket's trail. CloudTrail wants no two separators side by side, where S3 takes them: the second
/// becomes a capital, which no bucket's name has, so that no two buckets get one trail by default.
pub fn default_trail_name(bucket: &BucketName) -> String {
    let mut name = String::new();
    for c in bucket.as_str().chars().chain("-trail".chars()) {
        name.push(match c {
            '-' if name.ends_with(['-', '.']) => 'D',
            '.' if name.ends_with(['-', '.']) => 'P',
            other => other,
        });
    }
    name
}

/// The 12 digits of an AWS account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct AccountId(String);

impl FromStr for AccountId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new(text, "an account id (12 digits)"))
        }
    }
}

/// The name of a customer's KMS alias: `alias/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct KeyAlias(String);

impl FromStr for KeyAlias {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
        let name = text.strip_prefix("alias/").filter(|it| !it.is_empty() && it.chars().all(plain));
        if name.is_some_and(|it| !it.starts_with("aws/")) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new(text, "an alias of yours (alias/NAME, and not AWS's own alias/aws/...)"))
        }
    }
}

/// The name of a table of DynamoDB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(String);

impl FromStr for TableName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if (3..=255).contains(&text.len()) && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::new(text, "a table's name (3 to 255 letters, digits, dots, dashes and underscores)"))
        }
    }
}

/// An ARN in its parts; `resource` is all that follows the account.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// `None` when `text` is not an ARN.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let ("arn", partition, service, region, account, resource) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?)
        else {
            return None;
        };
        let whole = !partition.is_empty() && !service.is_empty() && !resource.is_empty();
        whole.then_some(Self { partition, service, region, account, resource })
    }
}

/// Defines a newtype over the text of an ARN of one kind of resource.
macro_rules! arn_type {
    ($(#[$doc:meta])* $name:ident, $expected:literal, |$arn:ident| $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The ARN in its parts.
            pub fn parts(&self) -> Arn<'_> {
                Arn::parse(&self.0).expect("only made from a text that parses")
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid = Arn::parse(text).is_some_and(|$arn| {
                    AccountId::from_str($arn.account).is_ok() && !text.contains(char::is_whitespace) && $valid
                });
                if valid { Ok(Self(text.to_owned())) } else { Err(NameError::new(text, $expected)) }
            }
        }

        text_newtype!($name);
    };
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The name as AWS writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
    };
}

text_newtype!(BucketName);

text_newtype!(AccountId);

text_newtype!(KeyAlias);

text_newtype!(TableName);

arn_type!(
    /// A KMS key's own ARN, never an alias: a bucket policy compares it letter by letter.
    KeyArn,
    "a KMS key ARN (arn:PARTITION:kms:REGION:ACCOUNT:key/ID)",
    |arn| arn.service == "kms" && !arn.region.is_empty() && arn.resource.strip_prefix("key/").is_some_and(one_segment)
);

arn_type!(
    /// A CloudTrail trail's ARN.
    TrailArn,
    "a trail ARN (arn:PARTITION:cloudtrail:REGION:ACCOUNT:trail/NAME)",
    |arn| arn.service == "cloudtrail"
        && !arn.region.is_empty()
        && arn.resource.strip_prefix("trail/").is_some_and(one_segment)
);

arn_type!(
    /// An IAM role's ARN.
    RoleArn,
    "a role ARN (arn:PARTITION:iam::ACCOUNT:role/NAME)",
    |arn| arn.service == "iam" && arn.resource.strip_prefix("role/").is_some_and(|it| !it.is_empty())
);

arn_type!(
    /// An SNS topic's ARN.
    TopicArn,
    "an SNS topic ARN (arn:PARTITION:sns:REGION:ACCOUNT:NAME)",
    |arn| arn.service == "sns" && !arn.region.is_empty() && !arn.resource.contains([':', '/'])
);

fn one_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains([':', '/'])
}

impl RoleArn {
    /// Whether `arn` is this role, or a session of it.
    /// A session's ARN lacks the role's path: `assumed-role/NAME/SESSION`.
    pub fn is_role_or_session(&self, arn: &str) -> bool {
        let own = self.parts();
        let Some(other) = Arn::parse(arn) else { return false };
        let name = |resource: &str| resource.rsplit('/').next().map(str::to_owned);
        let other_name = match (other.service, other.resource.split_once('/')) {
            ("iam", Some(("role", path))) => name(path),
            ("sts", Some(("assumed-role", rest))) => rest.split('/').next().map(str::to_owned),
            _ => None,
        };
        own.account == other.account && other_name.is_some() && other_name == name(own.resource)
    }
}

/// `arn:PARTITION:s3:::BUCKET`
pub fn bucket_arn(partition: &str, bucket: &BucketName) -> String {
    format!("arn:{partition}:s3:::{bucket}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_s3s_rules() {
        for good in ["abc", "acme-data", "a.b.c", "0-0", &"a".repeat(63)] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            &"a".repeat(64),
            "Acme",
            "a_b",
            "-abc",
            "abc-",
            "a..b",
            "10.0.0.1",
            "../../etc",
            "a b c",
            "naïve",
        ] {
            assert!(bad.parse::<BucketName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn trail_names_follow_cloudtrails_rules() {
        for good in ["abc", "acme-data-trail", "a.b_c-D", "1.2.3.4.5", &"a".repeat(128)] {
            assert!(is_trail_name(good), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", "ab", &long, "-abc", "abc.", "a--b", "a.-b", "a-_b", "a b", "a/b", "naïve", "192.168.5.4"] {
            assert!(!is_trail_name(bad), "{bad}");
        }
    }

    #[test]
    fn every_bucket_has_a_trail_name_of_its_own() {
        let named = |bucket: &str| default_trail_name(&bucket.parse().unwrap());
        assert_eq!(named("a.b-c"), "a.b-c-trail", "one separator stays");
        assert_eq!(named("acme-data"), "acme-data-trail");
        let buckets = ["a-b", "a.b", "a--b", "a---b", "a.-b", "a-.b", "a-.-b", "a----b", "a-db", "a-d-b", "a-p-b"];
        let names: Vec<_> = buckets.map(named).to_vec();
        assert!(names.iter().all(|it| is_trail_name(it)), "{names:?}");
        assert!((0..names.len()).all(|n| !names[..n].contains(&names[n])), "{names:?}");
        assert!(is_trail_name(&named(&format!("a{}a", "-".repeat(61)))), "the longest");
    }

    #[test]
    fn aliases_are_the_customers() {
        assert!("alias/s3-secure-data".parse::<KeyAlias>().is_ok());
        for bad in ["", "alias/", "alias/aws/s3", "s3-secure-data", "alias/a b", "alias/a:b"] {
            assert!(bad.parse::<KeyAlias>().is_err(), "{bad}");
        }
    }

    #[test]
    fn arns_of_the_wrong_kind_are_refused() {
        assert!("arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1".parse::<KeyArn>().is_ok());
        for bad in [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:eu-west-2:111122223333:alias/s3-secure-data",
            "arn:aws:kms:eu-west-2:111122223333:key/",
            "arn:aws:kms:eu-west-2:1111:key/1",
            "arn:aws:kms::111122223333:key/1",
            "arn:aws:s3:::bucket",
        ] {
            assert!(bad.parse::<KeyArn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_knows_its_sessions() {
        let role: RoleArn = "arn:aws:iam::111122223333:role/service/guardrail".parse().unwrap();
        assert!(role.is_role_or_session("arn:aws:sts::111122223333:assumed-role/guardrail/guardrail-remediate"));
        assert!(role.is_role_or_session("arn:aws:iam::111122223333:role/guardrail"));
        assert!(!role.is_role_or_session("arn:aws:sts::999922223333:assumed-role/guardrail/x"));
        assert!(!role.is_role_or_session("arn:aws:sts::111122223333:assumed-role/other/guardrail"));
        assert!(!role.is_role_or_session("arn:aws:iam::111122223333:user/guardrail"));
    }

    #[test]
    fn an_arn_has_six_parts_and_three_of_them_say_something() {
        let whole = Arn { partition: "aws", service: "s3", region: "", account: "", resource: "a:b/c" };
        assert_eq!(Arn::parse("arn:aws:s3:::a:b/c"), Some(whole));
        for bad in ["", "arn:aws:s3::", "urn:aws:s3:::b", "arn::s3:::b", "arn:aws::::b", "arn:aws:s3:::"] {
            assert_eq!(Arn::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_account_is_twelve_digits() {
        assert!("012345678901".parse::<AccountId>().is_ok());
        for bad in ["01234567890", "0123456789012", "01234567890a", "０１２３", ""] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_kind_of_arn_is_of_one_service_and_names_one_thing() {
        let is = |text: &str| {
            [
                text.parse::<KeyArn>().is_ok(),
                text.parse::<TrailArn>().is_ok(),
                text.parse::<RoleArn>().is_ok(),
                text.parse::<TopicArn>().is_ok(),
            ]
        };
        for (text, kinds) in [
            ("arn:aws:kms:r:111122223333:key/k", [true, false, false, false]),
            ("arn:aws:kms:r:111122223333:key/k/l", [false; 4]),
            ("arn:aws:kms:r:111122223333:key/k:l", [false; 4]),
            ("arn:aws:kms:r:111122223333:key/k l", [false; 4]),
            ("arn:aws:cloudtrail:r:111122223333:trail/t", [false, true, false, false]),
            ("arn:aws:cloudtrail:r:111122223333:trail/", [false; 4]),
            ("arn:aws:cloudtrail::111122223333:trail/t", [false; 4]),
            ("arn:aws:iam::111122223333:role/path/r", [false, false, true, false]),
            ("arn:aws:iam::111122223333:role/", [false; 4]),
            ("arn:aws:iam::111122223333:user/r", [false; 4]),
            ("arn:aws:sns:r:111122223333:t", [false, false, false, true]),
            ("arn:aws:sns:r:111122223333:t:1", [false; 4]),
            ("arn:aws:sns::111122223333:t", [false; 4]),
        ] {
            assert_eq!(is(text), kinds, "{text}");
        }
        assert_eq!(bucket_arn("aws-cn", &"acme-data".parse().unwrap()), "arn:aws-cn:s3:::acme-data");
    }

    #[test]
    fn a_strangers_name_is_shown_short_and_plain() {
        let error = format!("a\n{}", "b".repeat(99)).parse::<BucketName>().unwrap_err().to_string();
        assert_eq!(error, format!("`a{}` is not a bucket name", "b".repeat(79)));
    }
}
