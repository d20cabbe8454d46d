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
