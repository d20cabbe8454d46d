//! What in a policy would keep the guardrail from its work.

use serde::Serialize;

use crate::{control::table::Control, outcome::ledger::HINDRANCE};

/// A statement that denies what must be allowed, or the lack of one that allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hindrance {
    pub r#in: Document,
    /// The statement's Sid, or its place when it has none; `None`: no statement allows it.
    pub statement: Option<String>,
    /// The same in a sentence.
    #[serde(skip)]
    pub named: Option<String>,
    /// IAM's names of what would be refused.
    pub actions: Vec<&'static str>,
    /// Who would be refused; `None`: the guardrail's own role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<&'static str>,
    /// `false`: it depends on a condition that cannot be judged from here.
    pub certain: bool,
}

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Document {
    BucketPolicy,
    KeyPolicy,
}

impl Hindrance {
    /// What it is open under in the ledger.
    pub fn about(&self) -> String {
        let control = match self.r#in {
            Document::BucketPolicy => Control::BucketPolicy,
            Document::KeyPolicy => Control::KmsKey,
        };
        format!("{HINDRANCE}{control}")
    }
}

impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BucketPolicy => "the bucket policy",
            Self::KeyPolicy => "the key policy",
        })
    }
}

impl std::fmt::Display for Hindrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { r#in: document, statement: _, named, actions, service, certain } = self;
        let who = service.unwrap_or("the guardrail's role");
        let actions = actions.join(", ");
        match named {
            Some(statement) if *certain => write!(f, "{document}: {statement} denies {who} {actions}"),
            Some(statement) => write!(
                f,
                "{document}: {statement} may deny {who} {actions}; that depends on a condition that cannot be judged from here"
            ),
            None => write!(f, "{document}: no statement allows {who} {actions}"),
        }
    }
}

#[cfg(test)]
impl Hindrance {
    /// One that says no more than where it is.
    pub(crate) fn example(r#in: Document, certain: bool) -> Self {
        Self { r#in, statement: None, named: None, actions: Vec::new(), service: None, certain }
    }
}
