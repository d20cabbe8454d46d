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
