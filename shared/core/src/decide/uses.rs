//! Which registered buckets use a key or a trail.

use crate::{
    edge::registry::Registration,
    value::names::{Arn, KeyArn},
};

/// A key of a bucket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichKey<'a> {
    Present,
    /// One that it had before.
    Former(&'a KeyArn),
}

/// The keys of a bucket that an event is about.
pub fn keys_named<'a>(registration: &'a Registration, names: &[String], region: &str) -> Vec<WhichKey<'a>> {
    let present = names.iter().any(|it| uses_key(registration, it, region)).then_some(WhichKey::Present);
    let named = |key: &KeyArn| {
        names.iter().any(|it| it == key.as_str() || Some(it.as_str()) == key.parts().resource.strip_prefix("key/"))
    };
    let former = registration.former_keys.iter().filter(|it| **it != registration.key_arn && named(it));
    present.into_iter().chain(former.map(WhichKey::Former)).collect()
}

/// Whether an event that names this key or alias is about the bucket's key.
fn uses_key(registration: &Registration, named: &str, region: &str) -> bool {
    let key = &registration.key_arn;
    let alias = registration.key_alias.as_ref().map(|it| it.as_str());
    match Arn::parse(named) {
        Some(arn) if arn.resource.starts_with("alias/") => {
            (arn.account, arn.region) == (key.parts().account, region) && Some(arn.resource) == alias
        }
        Some(_) => named == key.as_str(),
        None => Some(named) == alias || key.parts().resource.strip_prefix("key/") == Some(named),
    }
}

/// Whether an event that names this trail is about the bucket's trail.
pub fn uses_trail(registration: &Registration, named: &str) -> bool {
    let Some(trail) = &registration.trail_arn else { return false };
    named == trail.as_str() || trail.parts().resource.strip_prefix("trail/") == Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-2:111122223333:key/k";
    const FORMER: &str = "arn:aws:kms:eu-west-2:111122223333:key/former";
    const TRAIL: &str = "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t";

    fn registration() -> Registration {
        let key: KeyArn = KEY.parse().unwrap();
        Registration {
            key_alias: "alias/acme".parse().ok(),
            // The present one may still stand there.
            former_keys: vec![key.clone(), FORMER.parse().unwrap()],
            trail_arn: TRAIL.parse().ok(),
            ..Registration::new("acme-data".parse().unwrap(), "111122223333".parse().unwrap(), key)
        }
    }

    #[test]
    fn a_key_is_named_by_arn_id_or_alias() {
        let registration = registration();
        let former: KeyArn = FORMER.parse().unwrap();
        let (present, former) = (WhichKey::Present, WhichKey::Former(&former));
        for (names, keys) in [
            (&[][..], &[][..]),
            (&[KEY], &[present]),
            (&["k"], &[present]),
            (&["key/k"], &[]),
            (&["alias/acme"], &[present]),
            (&["arn:aws:kms:eu-west-2:111122223333:alias/acme"], &[present]),
            (&["arn:aws:kms:eu-west-2:111122223333:alias/theirs"], &[]),
            (&["arn:aws:kms:eu-west-1:111122223333:alias/acme"], &[]),
            (&["arn:aws:kms:eu-west-2:999922223333:alias/acme"], &[]),
            (&["arn:aws:kms:eu-west-2:111122223333:key/other"], &[]),
            (&["alias/theirs", "other"], &[]),
            (&[FORMER], &[former]),
            (&["former"], &[former]),
            (&["other", "former", "k"], &[present, former]),
        ] {
            let names: Vec<_> = names.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(keys_named(&registration, &names, "eu-west-2"), keys, "{names:?}");
        }
        let nameless = Registration { key_alias: None, ..registration };
        assert_eq!(keys_named(&nameless, &["alias/acme".to_owned()], "eu-west-2"), []);
    }

    #[test]
    fn a_trail_is_named_by_arn_or_name() {
        for (named, uses) in [(TRAIL, true), ("t", true), ("trail/t", false), ("other", false), ("", false)] {
            assert_eq!(uses_trail(&registration(), named), uses, "{named}");
            assert!(!uses_trail(&Registration { trail_arn: None, ..registration() }, named), "it has none");
        }
    }
}
