//! The stop signal of a configuration: `SIGQUIT`, `QUIT` or `3` (moby, signal/signal.go, `ParseSignal`).

use anyhow::{Result, bail};

/// Names and numbers that are the same on every processor that strata supports.
const SIGNALS: [(&str, i32); 15] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("CONT", 18),
    ("HUP", 1),
    ("INT", 2),
    ("KILL", 9),
    ("PIPE", 13),
    ("PWR", 30),
    ("QUIT", 3),
    ("TERM", 15),
    ("TRAP", 5),
    ("USR1", 10),
    ("USR2", 12),
    ("WINCH", 28),
    ("XCPU", 24),
];

/// Returns the number of a signal. An empty text stands for SIGTERM.
///
/// # Errors
///
/// If it is not a signal that stops programs.
pub fn parse(text: &str) -> Result<i32> {
    if text.is_empty() {
        return Ok(15);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = name.parse().ok();
    match SIGNALS.iter().find(|(other, value)| *other == name || Some(*value) == number) {
        Some((_, value)) => Ok(*value),
        None => bail!("stop signal {text} is not supported"),
    }
}

/// Returns the name of a signal.
pub fn name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(_, value)| *value == number);
    known.map_or_else(|| number.to_string(), |(name, _)| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in
            [("", Some(15)), ("SIGQUIT", Some(3)), ("quit", Some(3)), ("3", Some(3)), ("SIGRTMIN+3", None), ("0", None)]
        {
            assert_eq!(parse(text).ok(), number, "{text}");
            assert!(number.is_none_or(|number| name(number).starts_with("SIG")));
        }
    }
}
