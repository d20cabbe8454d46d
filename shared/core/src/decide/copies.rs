//! What the copies of registry documents say that the documents do not.

use std::collections::BTreeMap;

use crate::{
    edge::registry::{Kept, Registration},
    value::names::BucketName,
};

/// A sweep writes no more copies than that.
const COPIES_PER_SWEEP: usize = 30;

/// What the copies of the registry's documents say of them.
#[derive(Debug, Default)]
pub struct Compared {
    /// Whose copy is missing or of an earlier document.
    pub to_keep: Vec<Registration>,
    /// Copies of documents that are gone, of which nobody was told.
    pub lost: Vec<Kept>,
}

/// Compares the documents, which are `None` where they are not valid, with their copies.
pub fn compare(documents: &BTreeMap<BucketName, Option<Registration>>, copies: BTreeMap<BucketName, Kept>) -> Compared {
    let is_kept =
        |it: &Registration| copies.get(&it.bucket).is_some_and(|kept| kept.registration == *it && !kept.told_gone);
    // The Parameter Store takes three writes a second; the next sweep does the rest.
    let to_keep = documents.values().flatten().filter(|it| !is_kept(it)).take(COPIES_PER_SWEEP).cloned().collect();
    let gone = |(bucket, kept): &(BucketName, Kept)| !documents.contains_key(bucket) && !kept.told_gone;
    let lost = copies.into_iter().filter(gone).take(COPIES_PER_SWEEP).map(|(_, kept)| kept).collect();
    Compared { to_keep, lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(bucket: &str, key: &str) -> Registration {
        let key = format!("arn:aws:kms:eu-west-2:111122223333:key/{key}").parse().unwrap();
        Registration::new(bucket.parse().unwrap(), "111122223333".parse().unwrap(), key)
    }

    fn kept(bucket: &str, told_gone: bool) -> (BucketName, Kept) {
        let since = "2026-11-23T10:00:00Z".parse().unwrap();
        (bucket.parse().unwrap(), Kept { registration: registration(bucket, "k"), since, told_gone })
    }

    #[test]
    fn a_copy_is_made_of_what_is_new_and_people_hear_once_of_what_is_gone() {
        let document = |bucket: &str, key| (bucket.parse().unwrap(), Some(registration(bucket, key)));
        let documents = BTreeMap::from([
            document("changed", "other"),
            document("fresh", "k"),
            document("restored", "k"),
            document("same", "k"),
            ("torn".parse().unwrap(), None),
        ]);
        let copies = BTreeMap::from([
            kept("changed", false),
            kept("gone", false),
            kept("gone-and-told", true),
            kept("restored", true),
            kept("same", false),
            kept("torn", false),
        ]);
        let Compared { to_keep, lost } = compare(&documents, copies);
        assert_eq!(to_keep.iter().map(|it| it.bucket.as_str()).collect::<Vec<_>>(), ["changed", "fresh", "restored"]);
        assert_eq!(lost.iter().map(|it| it.registration.bucket.as_str()).collect::<Vec<_>>(), ["gone"]);
    }
}
