//! What people read on a terminal: names and errors of strangers' images, without what would steer it.

/// An error and its causes, as one line on stderr.
pub fn print_error(error: &anyhow::Error) {
    eprintln!("strata: {}", escape_controls(&format!("{error:#}")));
}

/// The text without control characters, but for ends of lines.
pub fn escape_controls(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() && letter != '\n' { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(escape_controls("a\u{1b}[31mb\r\nc\u{9b}2J"), "a\u{fffd}[31mb\u{fffd}\nc\u{fffd}2J");
    }
}
