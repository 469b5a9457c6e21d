//! Words of a sandbox as a terminal may have them.

/// Longest line that is shown, in characters.
pub const MAX_LINE: usize = 2048;

/// Whether a terminal would obey a character instead of showing it, or would show the others in another order than they come.
pub fn is_order(c: char) -> bool {
    c.is_control()
        // Line and paragraph separators; marks, embeddings, overrides and isolates of writing directions; what has no width.
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        // Tags, which copy ASCII unseen.
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// One line of bounded length, without what a terminal would obey.
pub fn one_line(text: &str, longest: usize) -> String {
    text.chars().filter(|c| !is_order(*c)).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let text = "a\x1b[2J\n\r\u{9b}31m\u{202e}b\u{2066}\u{200b}\u{feff}\u{e0041}é";
        assert_eq!(one_line(text, MAX_LINE), "a[2J31mbé");
        assert_eq!(one_line(&"é".repeat(5000), MAX_LINE).chars().count(), MAX_LINE);
    }
}
