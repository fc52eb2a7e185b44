//! Prints text for users. Control characters are escaped, so that names, labels, errors and engine outputs of other
//! parties cannot move the cursor, hide lines or change the terminal.
//!
//! ```text
//! ESC [ 2 J           \u{1b}[2J
//! RIGHT-TO-LEFT …     \u{202e}        also the other characters that reorder text
//! \n, \t              as they are; line() escapes them in a value that belongs into one line
//! ```
//!
//! Documents are written with [`Text::exact`]. Unless the stream is a terminal, their bytes do not change. On a terminal, the
//! same characters are written as `\u202e`, which is the same text in JSON.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::{self, IsTerminal, StderrLock, StdoutLock, Write},
};

/// A stream for users.
pub struct Text<W> {
    inner: W,
    is_terminal: bool,
}

/// A stream of documents for programs, or for users if it is a terminal.
pub struct Exact<'a, W> {
    inner: &'a mut W,
    is_terminal: bool,
}

pub fn stdout() -> Text<StdoutLock<'static>> {
    Text { inner: io::stdout().lock(), is_terminal: stdout_is_terminal() }
}

pub fn stderr() -> Text<StderrLock<'static>> {
    Text { inner: io::stderr().lock(), is_terminal: stderr_is_terminal() }
}

pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

impl<W> Text<W> {
    /// Returns the stream for bytes that programs read.
    pub fn exact(&mut self) -> Exact<'_, W> {
        Exact { inner: &mut self.inner, is_terminal: self.is_terminal }
    }
}

impl<W: Write> Write for Exact<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.inner.write(bytes);
        }
        let mut text = String::with_capacity(bytes.len());
        for letter in String::from_utf8_lossy(bytes).chars() {
            match is_unsafe(letter) && !matches!(letter, '\n' | '\t') {
                true => write!(text, "\\u{:04x}", u32::from(letter)).map_err(io::Error::other)?,
                false => text.push(letter),
            }
        }
        self.inner.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Write for Text<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            escape(chunk.valid(), &['\n', '\t'], &mut text);
            chunk.invalid().iter().try_for_each(|byte| write!(text, "\\x{byte:02x}")).map_err(io::Error::other)?;
        }
        self.inner.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Prints a line on the standard error. Errors are ignored.
pub fn print_note(line: fmt::Arguments<'_>) {
    let _ = writeln!(stderr(), "{line}");
}

/// The same as `eprintln!`, with control characters escaped.
#[cfg_attr(not(feature = "net"), allow(unused_macros))]
macro_rules! note {
    ($($arguments:tt)*) => {
        $crate::terminal::print_note(format_args!($($arguments)*))
    };
}
pub(crate) use note;

/// Prints an error and its causes, which its alternate form has. Later lines are indented, so that none looks like a
/// separate message.
pub fn failed(error: &dyn fmt::Display) {
    print_note(format_args!("strata: {}", format!("{error:#}").replace('\n', "\n  ")));
}

/// Returns a value in one line: line ends and tabs are escaped too.
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

/// Whether the character is a control character, or one that reorders or separates lines of text ([Unicode Technical
/// Report 36](https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing)).
fn is_unsafe(letter: char) -> bool {
    let reorders =
        matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || reorders || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Returns a text as one word of a shell's command line. Users copy commands of messages, and images choose the names in
/// them.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-@%:,=".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => text.into(),
        false => format!("'{}'", text.replace('\'', r"'\''")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_one_word() {
        for (text, expected) in [
            ("/etc/app-1.conf", "/etc/app-1.conf"),
            ("/a; rm -rf b", "'/a; rm -rf b'"),
            ("/$(id)", "'/$(id)'"),
            ("/it's", r"'/it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), expected);
        }
    }

    fn text(is_terminal: bool) -> Text<Vec<u8>> {
        Text { inner: Vec::new(), is_terminal }
    }

    fn written(pieces: &[&[u8]]) -> String {
        let mut text = text(false);
        pieces.iter().for_each(|piece| text.write_all(piece).unwrap());
        String::from_utf8(text.inner).unwrap()
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
        let mut text = text(false);
        text.exact().write_all(b"\x1b\xff").unwrap();
        assert_eq!(text.inner, b"\x1b\xff");
    }

    #[test]
    fn documents_on_terminals_are_the_same_json_without_control_characters() {
        let value = serde_json::json!({ "a\u{9b}": "\u{202e}b\u{7f}\u{1b}[2Jü\n", "c": ["\u{2028}", 1] });
        let mut text = text(true);
        serde_json::to_writer_pretty(text.exact(), &value).unwrap();
        let written = String::from_utf8(text.inner).unwrap();
        assert!(!written.contains(|letter| is_unsafe(letter) && letter != '\n'), "{written:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
    }

    #[test]
    fn raw_bytes_do_not_reach_a_terminal() {
        let mut text = text(true);
        text.exact().write_all(b"{\r\x1b[2J\x9b\xff}\n").unwrap();
        assert_eq!(String::from_utf8(text.inner).unwrap(), "{\\u000d\\u001b[2J\u{fffd}\u{fffd}}\n");
    }
}
