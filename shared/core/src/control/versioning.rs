//! Whether old versions are kept.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Versioning {
    /// `None`: never enabled.
    pub status: Option<String>,
    /// Only the root user can change it, with a second factor; we leave it as it is.
    #[serde(rename = "MFADelete")]
    pub mfa_delete: bool,
}

impl Versioning {
    /// The same, enabled.
    pub fn enabled(&self) -> Self {
        Self { status: Some("Enabled".to_owned()), ..self.clone() }
    }
}
