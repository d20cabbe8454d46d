//! What an ACL gives to whom.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// One grant of an ACL; as text, and in JSON, `GRANTEE PERMISSION`.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    pub grantee: Grantee,
    /// `READ`, `WRITE`, `READ_ACP`, `WRITE_ACP`, `FULL_CONTROL`.
    pub permission: String,
}

/// Who is given something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    /// One of AWS's groups, by its URI.
    Group(String),
    Email(String),
    /// An account, by its canonical id.
    Account(String),
}

impl Grant {
    /// Whether it is given to everybody, or to everybody who has an account at AWS.
    pub fn is_to_anybody(&self) -> bool {
        self.is_to_group("/global/AllUsers") || self.is_to_group("/global/AuthenticatedUsers")
    }

    /// Whether it is given to S3's server access logs.
    pub fn is_to_log_delivery(&self) -> bool {
        self.is_to_group("/s3/LogDelivery")
    }

    fn is_to_group(&self, name: &str) -> bool {
        matches!(&self.grantee, Grantee::Group(uri) if uri.ends_with(name))
    }
}

impl Grantee {
    /// Its URI, address or id.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Group(text) | Self::Email(text) | Self::Account(text) => text,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.grantee.as_str(), self.permission)
    }
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (grantee, permission) =
            text.split_once(' ').ok_or_else(|| format!("`{text}` is not a grantee and a permission"))?;
        let grantee = grantee.to_owned();
        let grantee = match grantee {
            uri if uri.starts_with("http") => Grantee::Group(uri),
            email if email.contains('@') => Grantee::Email(email),
            id => Grantee::Account(id),
        };
        Ok(Self { grantee, permission: permission.to_owned() })
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_as_it_is_written() {
        for (text, grantee, is_to_anybody) in [
            ("http://acs.amazonaws.com/groups/global/AllUsers READ", Grantee::Group as fn(String) -> Grantee, true),
            ("http://acs.amazonaws.com/groups/global/AuthenticatedUsers READ_ACP", Grantee::Group, true),
            ("http://acs.amazonaws.com/groups/s3/LogDelivery WRITE", Grantee::Group, false),
            ("ann@example.com FULL_CONTROL", Grantee::Email, false),
            ("79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be READ", Grantee::Account, false),
        ] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!((grant.to_string().as_str(), grant.is_to_anybody()), (text, is_to_anybody));
            assert_eq!(grant.grantee, grantee(grant.grantee.as_str().to_owned()));
            assert_eq!(serde_json::from_str::<Grant>(&serde_json::to_string(&grant).unwrap()).unwrap(), grant);
        }
        assert!("READ".parse::<Grant>().is_err());
    }

    #[test]
    fn the_access_logs_are_a_group_and_nobody_else() {
        for (text, is_logs) in [
            ("http://acs.amazonaws.com/groups/s3/LogDelivery WRITE", true),
            ("http://acs.amazonaws.com/groups/global/AllUsers WRITE", false),
            ("79a5/s3/LogDelivery WRITE", false),
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().is_to_log_delivery(), is_logs, "{text}");
        }
        assert!(!"79a5/global/AllUsers READ".parse::<Grant>().unwrap().is_to_anybody());
    }
}
