//! Results as JUnit XML, with the elements of container-structure-test (pkg/output/output.go, `FinalResults`), which
//! GitLab, Jenkins and GitHub Actions read.
//!
//! ```text
//! <testsuites failures="1" tests="2" time="0.5">
//!   <testsuite name="IMAGE">
//!     <testcase name="Command Test: id" time="0.5"><failure>…</failure><system-out>…</system-out><system-err>…</system-err></testcase>
//! ```

use std::io::{self, Write};

use super::results::{TestReport, TestResult};

/// Writes the report of tests of `image`.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl Write, report: &TestReport, image: &str) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    let (failures, tests, time) = (report.fail, report.total, seconds(report.duration));
    writeln!(out, r#"<testsuites failures="{failures}" tests="{tests}" time="{time}">"#)?;
    // Parsers of JUnit expect the counts in the suite, where container-structure-test has none.
    let image = escape(image);
    writeln!(out, r#"<testsuite name="{image}" failures="{failures}" tests="{tests}" time="{time}">"#)?;
    report.results.iter().try_for_each(|result| write_case(out, result))?;
    writeln!(out, "</testsuite>\n</testsuites>")
}

fn write_case(out: &mut impl Write, result: &TestResult) -> io::Result<()> {
    write!(out, r#"<testcase name="{}" time="{}">"#, escape(&result.name), seconds(result.duration))?;
    result.errors.iter().try_for_each(|error| write!(out, "<failure>{}</failure>", escape(error)))?;
    for (element, text) in [("system-out", &result.stdout), ("system-err", &result.stderr)] {
        if !text.is_empty() {
            write!(out, "<{element}>{}</{element}>", escape(text))?;
        }
    }
    writeln!(out, "</testcase>")
}

/// Returns nanoseconds as a decimal number of seconds.
fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

/// Escapes the text of an element or attribute. Characters that XML does not allow (XML 1.0, section 2.2) become
/// U+FFFD, as in Go's encoding/xml.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            // Parsers replace these characters by spaces in attributes, and `\r` by a line feed in text.
            '\n' => escaped.push_str("&#xA;"),
            '\r' => escaped.push_str("&#xD;"),
            '\t' => escaped.push_str("&#x9;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_junit_cases() {
        let failed = TestResult {
            stdout: "a\u{1b}[1m<b>\n".to_owned(),
            duration: 1_500_000_000,
            ..TestResult::new("Command Test: \"x\" & y".to_owned(), vec!["one".to_owned(), "two".to_owned()])
        };
        let passed = TestResult::new("Metadata Test".to_owned(), Vec::new());
        let mut out = Vec::new();
        write(&mut out, &TestReport::new(vec![failed, passed]), ".#image").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
                "<testsuites failures=\"1\" tests=\"2\" time=\"1.500000000\">\n",
                "<testsuite name=\".#image\" failures=\"1\" tests=\"2\" time=\"1.500000000\">\n",
                "<testcase name=\"Command Test: &#34;x&#34; &amp; y\" time=\"1.500000000\"><failure>one</failure>",
                "<failure>two</failure><system-out>a\u{fffd}[1m&lt;b&gt;&#xA;</system-out></testcase>\n",
                "<testcase name=\"Metadata Test\" time=\"0.000000000\"></testcase>\n",
                "</testsuite>\n</testsuites>\n"
            )
        );
    }
}
