//! Text of strangers, made fit to be shown.

/// A text of a stranger's, longer than this, is cut.
pub const MAX_TEXT: usize = 256;

/// A text without control characters, 256 characters at most.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}
