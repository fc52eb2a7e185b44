//! Words that help texts, messages, pages and names of tests do not use, since each has a name that the field knows. Used by
//! `language.rs` and by tests/pages.rs.

/// Words that are not used, and their replacements.
const WORDS: [(&str, &str); 34] = [
    ("authorities", "CAs"),
    ("authority", "CA"),
    ("beside", "next to"),
    ("bill of materials", "SBOM"),
    ("bills of materials", "SBOMs"),
    ("but for", "except"),
    ("farewell", "timeout"),
    ("folder", "directory"),
    ("folders", "directories"),
    ("guest", "connection"),
    ("guests", "connections"),
    ("has no place", "cannot hold"),
    ("in parts", "partially"),
    ("lies", "is wrong"),
    ("meets", "is"),
    ("nobody", "the passive voice"),
    ("noted", "recorded"),
    ("packed", "compressed"),
    ("patience", "timeout"),
    ("plain layer", "uncompressed layer"),
    ("plain layers", "uncompressed layers"),
    ("remembered", "cached"),
    ("said", "the mechanism"),
    ("says", "has, lists, prints"),
    ("somebody", "the passive voice"),
    ("stranger", "another account"),
    ("strangers", "other accounts"),
    ("told", "given"),
    ("wants", "requires"),
    ("what is there", "existing blobs"),
    ("what refers to", "referrers"),
    ("who", "the mechanism"),
    ("whoever", "the mechanism"),
    ("whom", "the mechanism"),
];

/// The words that a text should not use, each with its replacement. An acronym may be explained once: "bill of materials (SBOM)".
pub fn unwanted(text: &str) -> Vec<String> {
    let text = text.replace("software bill of materials (SBOM)", "SBOM");
    let letters =
        |letter: char| if letter.is_alphanumeric() || letter == '\'' { letter.to_ascii_lowercase() } else { ' ' };
    let words: String = text.chars().map(letters).collect();
    let words = format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "));
    let found = WORDS.iter().filter(|(word, _)| words.contains(&format!(" {word} ")));
    found.map(|(word, instead)| format!("{word:?} (write: {instead})")).collect()
}

#[test]
fn unwanted_words_are_found_as_whole_words() {
    assert!(unwanted("A wholesome folderless bill. (SBOM)").is_empty());
    assert!(unwanted("a software bill of materials (SBOM)").is_empty());
    assert_eq!(unwanted("The\nFOLDER of those,\n who left").len(), 2);
    assert_eq!(unwanted("pulled in\nparts").len(), 1);
    assert_eq!(unwanted("a bill of materials").len(), 1);
}
