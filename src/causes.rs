//! Errors with their causes, in one line.

use std::error::Error;

/// Returns the error and its causes, outermost first: `opening the file: permission denied`.
pub fn joined(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // An io::Error that only carries another error has the same text.
        if !text.ends_with(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading")]
    struct Reading(#[source] io::Error);

    #[test]
    fn each_cause_of_an_error_is_printed_once() {
        let error = io::Error::other(Reading(io::Error::other("it is gone")));
        assert_eq!(joined(&error), "reading: it is gone");
        assert_eq!(joined(&io::Error::other("alone")), "alone");
    }
}
