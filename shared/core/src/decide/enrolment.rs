//! What registering a bucket changes.

use crate::{edge::registry::Registration, outcome::swap::Swap};

/// What a guarded bucket is registered with and will be no longer. What it never had is no swap.
pub fn swaps(registered: &Registration, registration: &Registration) -> Vec<Swap> {
    fn text(it: Option<&impl ToString>) -> Option<String> {
        it.map(ToString::to_string)
    }
    let fields = |it: &Registration| {
        [
            ("key", Some(it.key_arn.to_string())),
            ("key_alias", text(it.key_alias.as_ref())),
            ("trail", text(it.trail_arn.as_ref())),
            ("log_bucket", text(it.log_bucket().ok().as_ref())),
            ("inventory_bucket", text(it.inventory_bucket().ok().as_ref())),
            ("inventory_format", it.inventory.format.map(|it| it.as_str().to_owned())),
        ]
    };
    let pairs = fields(registered).into_iter().zip(fields(registration));
    let swap = |((field, from), (_, to)): ((&'static str, Option<String>), (_, Option<String>))| {
        let from = from.filter(|it| to.as_ref() != Some(it))?;
        Some(Swap { field, from, to })
    };
    pairs.filter_map(swap).collect()
}
