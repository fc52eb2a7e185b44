//! File existence and content tests, which read the layers (container-structure-test, pkg/types/v2/file_existence.go
//! and file_content.go).

use std::{collections::BTreeMap, io, path::Path};

use super::{
    expand::expand,
    files::{ImageFiles, mode_text},
    results::TestResult,
    structure::{FileContentTest, FileExistenceTest},
};

/// The maximum number of bytes of a file in an error.
const SHOWN: usize = 2000;

/// Runs a file existence test; `env` has the variables of the image.
pub fn existence(test: &FileExistenceTest, files: &ImageFiles, env: &BTreeMap<String, String>) -> TestResult {
    let path = expand(&test.path, env);
    let mut errors = Vec::new();
    match files.find(Path::new(&path)) {
        Err(error) if test.should_exist => errors.push(format!("{path} does not exist: {}", reason(&error))),
        Err(_) => {}
        Ok(_) if !test.should_exist => errors.push(format!("{path} exists, expected not to")),
        Ok(file) => {
            let mode = mode_text(file.mode);
            if !test.permissions.is_empty() && test.permissions != mode {
                errors.push(format!("permissions of {path} are {mode}, expected {}", test.permissions));
            }
            let executable = match test.is_executable_by.as_str() {
                "any" => 0o111,
                "owner" => 0o100,
                "group" => 0o010,
                "other" => 0o001,
                _ => u32::MAX,
            };
            if file.mode & executable == 0 {
                errors.push(format!("{path} is not executable by {}: permissions are {mode}", test.is_executable_by));
            }
            for (field, expected, actual) in [("owner", test.uid, file.uid), ("group", test.gid, file.gid)] {
                if expected != -1 && u64::try_from(expected) != Ok(actual) {
                    errors.push(format!("{field} of {path} is {actual}, expected {expected}"));
                }
            }
        }
    }
    TestResult::new(format!("File Existence Test: {}", test.name), errors)
}

/// Runs a file content test.
pub fn content(test: &FileContentTest, files: &ImageFiles) -> TestResult {
    let mut errors = Vec::new();
    match files.read(Path::new(&test.path)) {
        Err(error) => errors.push(format!("{} cannot be read: {}", test.path, reason(&error))),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            for pattern in test.expected_contents.iter().filter(|pattern| !pattern.is_match(&text)) {
                errors.push(format!("{} does not match {:?}; it is {}", test.path, pattern.as_str(), shown(&text)));
            }
            for pattern in test.excluded_contents.iter().filter(|pattern| pattern.is_match(&text)) {
                errors.push(format!("{} matches {:?}, which is excluded", test.path, pattern.as_str()));
            }
        }
    }
    TestResult::new(format!("File Content Test: {}", test.name), errors)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the image has no such file".to_owned(),
        _ => error.to_string(),
    }
}

/// Returns the beginning of a text, in quotes.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?} and {} bytes more", &text[..end], text.len() - end),
    }
}
