//! The one way to print what people read: control characters are escaped, so that names, labels, errors and engine
//! outputs of others cannot move the cursor, hide lines or change the terminal.
//!
//! ```text
//! ESC [ 2 J           \u{1b}[2J
//! RIGHT-TO-LEFT …     \u{202e}        also the other characters that reorder text
//! \n, \t              as they are; line() escapes them in a value that belongs into one line
//! ```
//!
//! Manifests, archives and JSON go through [`Text::exact`] unchanged.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, StderrLock, StdoutLock, Write},
};

/// A stream that people read.
pub struct Text<W>(W);

/// The standard output.
pub fn stdout() -> Text<StdoutLock<'static>> {
    Text(io::stdout().lock())
}

/// The standard error.
pub fn stderr() -> Text<StderrLock<'static>> {
    Text(io::stderr().lock())
}

/// Whether the standard output is a terminal.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether the standard error is a terminal.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

impl<W> Text<W> {
    /// The stream itself, for bytes that programs read.
    pub fn exact(&mut self) -> &mut W {
        &mut self.0
    }
}

impl<W: Write> Write for Text<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            escape(chunk.valid(), &['\n', '\t'], &mut text);
            chunk.invalid().iter().try_for_each(|byte| write!(text, "\\x{byte:02x}")).map_err(io::Error::other)?;
        }
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Prints a line on the standard error. That it cannot be written is no reason to stop.
pub fn print_note(line: fmt::Arguments<'_>) {
    let _ = writeln!(stderr(), "{line}");
}

/// As `eprintln!`, with control characters escaped.
#[cfg_attr(not(feature = "net"), allow(unused_macros))]
macro_rules! note {
    ($($arguments:tt)*) => {
        $crate::terminal::print_note(format_args!($($arguments)*))
    };
}
pub(crate) use note;

/// Prints an error and its causes, which its alternate form has. Later lines are indented, so that none looks like a message of its own.
pub fn failed(error: &dyn fmt::Display) {
    print_note(format_args!("strata: {}", format!("{error:#}").replace('\n', "\n  ")));
}

/// A value in one line: line ends and tabs are escaped too.
pub fn line(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    escape(text, &[], &mut escaped);
    escaped
}

fn escape(text: &str, allowed: &[char], escaped: &mut String) {
    for letter in text.chars() {
        if is_unsafe(letter) && !allowed.contains(&letter) {
            escaped.extend(letter.escape_unicode());
        } else {
            escaped.push(letter);
        }
    }
}

/// Control characters, and those that reorder or separate lines of text
/// ([Unicode Technical Report 36](https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing)).
fn is_unsafe(letter: char) -> bool {
    let reorders =
        matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || reorders || matches!(letter, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&[u8]]) -> String {
        let mut text = Text(Vec::new());
        pieces.iter().for_each(|piece| text.write_all(piece).unwrap());
        String::from_utf8(text.0).unwrap()
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(written(&["a\u{1b}[31mb\r\nc\u{9b}2J\td".as_bytes()]), "a\\u{1b}[31mb\\u{d}\nc\\u{9b}2J\td");
        assert_eq!(written(&["\u{202e}gnp\u{2066}\u{7f}\u{7}".as_bytes()]), "\\u{202e}gnp\\u{2066}\\u{7f}\\u{7}");
        assert_eq!(written(&[b"\xff\x9b2J", "caf\u{e9} └ →".as_bytes()]), "\\xff\\x9b2Jcaf\u{e9} └ →");
    }

    #[test]
    fn a_value_in_one_line_has_no_line_ends() {
        assert_eq!(line("a\nstrata: signed\u{2028}"), "a\\u{a}strata: signed\\u{2028}");
    }

    #[test]
    fn exact_bytes_stay() {
        let mut text = Text(Vec::new());
        text.exact().write_all(b"\x1b\xff").unwrap();
        assert_eq!(text.0, b"\x1b\xff");
    }
}
