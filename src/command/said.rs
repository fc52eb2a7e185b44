//! What people read on a terminal: names and errors of strangers' images, without what would steer it.

/// An error and its causes, as one line on stderr.
pub fn failed(error: &anyhow::Error) {
    eprintln!("strata: {}", plain(&format!("{error:#}")));
}

/// The text without control characters, but for ends of lines.
pub fn plain(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() && letter != '\n' { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc\u{9b}2J"), "a\u{fffd}[31mb\u{fffd}\nc\u{fffd}2J");
    }
}
