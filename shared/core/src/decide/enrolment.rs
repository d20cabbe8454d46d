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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::inventory::InventoryFormat, edge::registry::InventorySettings};

    #[test]
    fn a_swap_is_what_was_there_and_will_not_be() {
        let account = || "111122223333".parse().unwrap();
        let key = |id: &str| format!("arn:aws:kms:eu-west-2:111122223333:key/{id}").parse().unwrap();
        let bare = || Registration::new("acme-data".parse().unwrap(), account(), key("k"));
        let full = || Registration {
            key_alias: "alias/a".parse().ok(),
            trail_arn: "arn:aws:cloudtrail:eu-west-2:111122223333:trail/t".parse().ok(),
            log_bucket: "acme-logs".parse().ok(),
            inventory: InventorySettings { bucket: "acme-lists".parse().ok(), format: Some(InventoryFormat::Csv) },
            ..bare()
        };
        let swapped = |from: &Registration, to: &Registration| {
            let line = |it: Swap| format!("{}: {} -> {}", it.field, it.from, it.to.unwrap_or_default());
            swaps(from, to).into_iter().map(line).collect::<Vec<_>>()
        };
        let nothing: [String; 0] = [];
        assert_eq!(swapped(&full(), &full()), nothing);
        assert_eq!(
            swapped(&bare(), &full()),
            ["log_bucket: acme-data-logs -> acme-logs", "inventory_bucket: acme-data-inventory -> acme-lists"]
        );
        assert_eq!(
            swapped(&full(), &Registration { key_arn: key("other"), ..bare() }),
            [
                "key: arn:aws:kms:eu-west-2:111122223333:key/k -> arn:aws:kms:eu-west-2:111122223333:key/other",
                "key_alias: alias/a -> ",
                "trail: arn:aws:cloudtrail:eu-west-2:111122223333:trail/t -> ",
                "log_bucket: acme-logs -> acme-data-logs",
                "inventory_bucket: acme-lists -> acme-data-inventory",
                "inventory_format: CSV -> "
            ]
        );
    }
}
