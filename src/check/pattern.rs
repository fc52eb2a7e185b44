//! Regular expressions of tests, in the syntax of Go's `regexp` (RE2).
//!
//! The crate `regex` has the same syntax, except for these constructs, which are translated ([`translate`]):
//!
//! ```text
//! \d \w \s \b       for ASCII only                      [0-9], …, (?-u:\b)
//! {"a": 1}          braces without a repetition         \{"a": 1\}
//! [[a]              a bracket in a class                [\[a]
//! [a&&b] [a--b]     no operators in classes             [a\&\&b]
//! \Qa.b\E           a quotation                         a\.b
//! \101 \_ \<        octal numbers, escaped punctuation  \x{41} \x{5f} \x{3c}
//! ```
//!
//! Text that is not UTF-8 is searched as in Go, with U+FFFD for malformed bytes. (Go, src/regexp/syntax/parse.go.)

use std::{fmt, iter::Peekable, str::Chars};

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de::Error};

/// The maximum size of a compiled expression in bytes. Go has no such limit, but refuses more than 1,000 repetitions.
const SIZE_LIMIT: usize = 64 << 20;
const REPETITIONS_LIMIT: u32 = 1000;

/// A compiled regular expression of a test.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// The error of an expression that Go refuses.
#[derive(Debug, thiserror::Error)]
#[error("regular expression {text:?}: {why}")]
pub struct PatternError {
    text: String,
    why: String,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// If it is malformed, or too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let fail = |why: String| PatternError { text: text.to_owned(), why };
        let translated = translate(text).map_err(|why| fail(why.to_owned()))?;
        let built = RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).build();
        let regex = built.map_err(|error| {
            // The crate prints the expression with a marker; the last line is the cause.
            let text = error.to_string();
            fail(text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Whether the expression matches a part of `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// Returns the expression in the syntax of Go.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Translates an expression for the crate `regex`.
fn translate(text: &str) -> Result<String, &'static str> {
    let mut translation = Translation { rest: text.chars().peekable(), out: String::with_capacity(text.len()) };
    while let Some(next) = translation.rest.next() {
        match next {
            '\\' => drop(translation.escape(false)?),
            '[' => translation.class()?,
            '(' => translation.group()?,
            '{' => {
                if translation.repetition()? {
                    translation.after_repetition()?;
                }
            }
            '*' | '+' | '?' => {
                translation.out.push(next);
                translation.after_repetition()?;
            }
            other => translation.out.push(other),
        }
    }
    Ok(translation.out)
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
}

impl Translation<'_> {
    fn literal(&mut self, character: char) {
        self.out.push_str(&format!("\\x{{{:x}}}", u32::from(character)));
    }

    /// Translates the text after a backslash. Returns whether it stands for one character, and not for a class.
    fn escape(&mut self, in_class: bool) -> Result<bool, &'static str> {
        let next = self.rest.next().ok_or("trailing backslash at end of expression")?;
        let class = match next {
            'd' => Some(("0-9", false)),
            'D' => Some(("0-9", true)),
            'w' => Some(("0-9A-Za-z_", false)),
            'W' => Some(("0-9A-Za-z_", true)),
            's' => Some(("\\t\\n\\x0c\\r ", false)),
            'S' => Some(("\\t\\n\\x0c\\r ", true)),
            _ => None,
        };
        match (next, class) {
            (_, Some((members, false))) if in_class => self.out.push_str(members),
            (_, Some((members, negated))) => {
                self.out.push_str(&format!("[{}{members}]", if negated { "^" } else { "" }));
            }
            ('b' | 'B', _) if !in_class => self.out.push_str(&format!("(?-u:\\{next})")),
            ('A' | 'z', _) if !in_class => self.out.extend(['\\', next]),
            ('Q', _) if !in_class => self.quotation(),
            ('a' | 'f' | 't' | 'n' | 'r' | 'v', _) => self.out.extend(['\\', next]),
            ('x' | 'p' | 'P', _) => self.argument(next)?,
            ('0'..='7', _) => self.octal(next)?,
            (other, _) if other.is_ascii() && !other.is_ascii_alphanumeric() => self.literal(other),
            _ => return Err("invalid escape sequence"),
        }
        Ok(class.is_none() && !matches!(next, 'p' | 'P'))
    }

    /// Translates the rest of `\x41`, `\x{41}`, `\pL` or `\p{L}` after its letter.
    fn argument(&mut self, letter: char) -> Result<(), &'static str> {
        self.out.extend(['\\', letter]);
        let is_braced = self.rest.peek() == Some(&'{');
        let length = if letter == 'x' { 2 } else { 1 };
        for at in 0.. {
            let next = self.rest.next().ok_or("invalid escape sequence")?;
            self.out.push(next);
            if if is_braced { next == '}' } else { at + 1 == length } {
                break;
            }
        }
        Ok(())
    }

    /// Translates a number after a backslash: up to three octal digits, and at least two unless it begins with 0.
    fn octal(&mut self, first: char) -> Result<(), &'static str> {
        let is_octal = |next: &char| ('0'..='7').contains(next);
        if first != '0' && !self.rest.peek().is_some_and(is_octal) {
            return Err("invalid escape sequence");
        }
        let mut value = first.to_digit(8).unwrap_or_default();
        for _ in 0..2 {
            let Some(digit) = self.rest.next_if(is_octal) else { break };
            value = value * 8 + digit.to_digit(8).unwrap_or_default();
        }
        self.literal(char::from_u32(value).unwrap_or_default());
        Ok(())
    }

    /// Escapes all characters up to `\E`.
    fn quotation(&mut self) {
        while let Some(next) = self.rest.next() {
            if next == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(next);
        }
    }

    /// Translates a class after its opening bracket.
    fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        // A bracket at the start is a member.
        if self.rest.next_if_eq(&']').is_some() {
            self.literal(']');
        }
        while let Some(next) = self.rest.next() {
            match next {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' => match self.posix_class() {
                    Some(class) => self.out.push_str(&class),
                    None => self.member('[')?,
                },
                '\\' => {
                    if self.escape(true)? {
                        self.range()?;
                    }
                }
                other => self.member(other)?,
            }
        }
        Err("missing closing ]")
    }

    /// Translates a member of a class, which may begin a range.
    fn member(&mut self, first: char) -> Result<(), &'static str> {
        self.literal(first);
        self.range()
    }

    /// Translates the rest of a range after its first character, if there is one.
    fn range(&mut self) -> Result<(), &'static str> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || matches!(ahead.next(), None | Some(']')) {
            return Ok(());
        }
        self.out.extend(self.rest.next());
        match self.rest.next() {
            Some('\\') => drop(self.escape(true)?),
            Some(last) => self.literal(last),
            None => {}
        }
        Ok(())
    }

    /// Reads the rest of `[:alpha:]` after its first bracket.
    fn posix_class(&mut self) -> Option<String> {
        let rest: String = self.rest.clone().take_while(|next| *next != ']').collect();
        let name = rest.strip_prefix(':')?.strip_suffix(':')?;
        let letters = name.strip_prefix('^').unwrap_or(name);
        if letters.is_empty() || !letters.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return None;
        }
        let class = format!("[{rest}]");
        self.rest.by_ref().nth(rest.chars().count());
        Some(class)
    }

    /// Translates the text after a parenthesis: the crate has more flags than Go.
    fn group(&mut self) -> Result<(), &'static str> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        let next = *self.rest.peek().ok_or("missing closing )")?;
        if matches!(next, 'P' | '<') {
            return Ok(());
        }
        while let Some(flag) = self.rest.next_if(|next| !matches!(next, ':' | ')')) {
            if !"imsU-".contains(flag) {
                return Err("invalid or unsupported Perl syntax");
            }
            self.out.push(flag);
        }
        Ok(())
    }

    /// Translates the text after a brace: `{2}`, `{2,}` and `{2,3}` are repetitions, and every other brace is an
    /// ordinary character. Returns whether it is a repetition.
    fn repetition(&mut self) -> Result<bool, &'static str> {
        let inner: String = self.rest.clone().take_while(|next| *next != '}').collect();
        let is_closed = self.rest.clone().any(|next| next == '}');
        let (least, most) = inner.split_once(',').map_or((inner.as_str(), None), |(least, most)| (least, Some(most)));
        let is_number = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'))
        };
        if !is_closed || !is_number(least) || !most.is_none_or(|most| most.is_empty() || is_number(most)) {
            self.literal('{');
            return Ok(false);
        }
        let is_bounded = |text: &str| text.parse().is_ok_and(|count: u32| count <= REPETITIONS_LIMIT);
        if !is_bounded(least) || !most.is_none_or(|most| most.is_empty() || is_bounded(most)) {
            return Err("invalid repeat count");
        }
        self.out.push_str(&format!("{{{inner}}}"));
        self.rest.by_ref().nth(inner.chars().count());
        Ok(true)
    }

    /// Translates the question mark that may follow a repetition. Go refuses a repetition of a repetition (`repeat` in
    /// src/regexp/syntax/parse.go).
    fn after_repetition(&mut self) -> Result<(), &'static str> {
        self.out.extend(self.rest.next_if_eq(&'?'));
        let is_nested = match self.rest.peek() {
            Some('*' | '+' | '?') => true,
            Some('{') => {
                let mut ahead = Translation { rest: self.rest.clone(), out: String::new() };
                ahead.rest.next();
                ahead.repetition()?
            }
            _ => false,
        };
        if is_nested { Err("invalid nested repetition operator") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_in_go() {
        for (pattern, matches, others) in [
            ("^a.c$", &["abc", "aéc"][..], &["a\nc", "xabc", "abc\n"][..]),
            (r"\d+\.\d", &["1.2"], &["٣.٣", "12"]),
            (r"^\w+$", &["a_1"], &["é", "a-b"]),
            (r"^[\w.]+$", &["a.b"], &["é"]),
            (r"^[^\d\s]+$", &["aé"], &["a 1"]),
            (r"^[\D]$", &["é"], &["1"]),
            (r"\bword\b", &["a word."], &["sword"]),
            (r#"{"a": [1]}"#, &[r#"{"a": 1}"#], &[r#"{"a": 2}"#]),
            ("a{,2}", &["a{,2}"], &["aa"]),
            ("^a{2,3}$", &["aa", "aaa"], &["a", "aaaa"]),
            ("^a{2", &["a{2"], &["aa"]),
            ("^a{2}?b+?{$", &["aab{"], &["ab{"]),
            ("^a*{x}$", &["{x}", "a{x}"], &["a"]),
            ("[[a]", &["[", "a"], &["b"]),
            ("^[]a]$", &["]", "a"], &["b"]),
            ("[[:digit:]x]", &["1", "x"], &["a"]),
            ("^[a&&b]+$", &["a&b"], &["c"]),
            ("^[+--]+$", &["+,-"], &["."]),
            ("^[--/]+$", &["-./"], &[","]),
            (r"^[\w-.]+$", &["a-."], &[","]),
            (r"^[\x41-\x43\pN\p{Lo}\.-]+$", &["A1-."], &["D", "x"]),
            (r"^[a-\x63-]+$", &["abc-"], &["d"]),
            (r"\Qa.b\E+$", &["a.bb"], &["axb"]),
            (r"^\101\_\<\/$", &["A_</"], &["A"]),
            ("(?i)nginx", &["NGINX"], &["engine"]),
            ("(?s)a.b", &["a\nb"], &["ab"]),
            ("(?P<x>a)|(?<y>b)", &["a", "b"], &["c"]),
            (r"^\pL+$", &["aé"], &["1"]),
            (r"\x{e9}\x41", &["éA"], &["e"]),
            ("", &["", "x"], &[]),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{error}"));
            matches.iter().for_each(|text| assert!(compiled.is_match(text), "{pattern} {text}"));
            others.iter().for_each(|text| assert!(!compiled.is_match(text), "{pattern} {text}"));
        }
    }

    #[test]
    fn expressions_that_go_refuses_are_errors() {
        for pattern in [
            "(", "a)", "[a", r"\", r"\y", r"\8", "*a", "(?x)a b", "(?=a)", "a{1001}", "(?u)a", r"\<a\y", "[z-a]", "(?",
            "a**", "a+*", "a???", "a{2}{1}", "a*?+", "a?{2}", r"\C",
        ] {
            let error = Pattern::new(pattern).expect_err(pattern).to_string();
            assert!(error.starts_with("regular expression ") && !error.contains('\n'), "{error}");
        }
    }
}
