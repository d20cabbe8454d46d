//! Which bucket, and whose.

use crate::value::names::{AccountId, BucketName};

/// A bucket as every call names it: with the owner it must have.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub name: &'a BucketName,
    pub owner: &'a AccountId,
}
