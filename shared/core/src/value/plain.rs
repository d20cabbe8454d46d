//! Text of strangers, made fit to be shown.

/// A text of a stranger's, longer than this, is cut.
pub const MAX_TEXT: usize = 256;

/// A text without control characters, 256 characters at most.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_neither_breaks_the_line_nor_fills_the_mail() {
        assert_eq!(clean("a\n\u{1b}[31mé\t"), "a[31mé");
        assert_eq!(clean(&"é".repeat(MAX_TEXT + 1)), "é".repeat(MAX_TEXT));
    }
}
