//! What a bootstrap exchanges under a bucket.

use serde::Serialize;

/// Something that a guarded bucket leans on and that the request exchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swap {
    /// The request's field.
    pub field: &'static str,
    pub from: String,
    /// `None`: nothing in its place.
    pub to: Option<String>,
}
