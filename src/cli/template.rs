//! The destinations of a fleet, from the template of `--to`.
//!
//! ```text
//! oci:out/{attr}        attr = web.x86     oci:out/web.x86
//! docker://HOST/{name}:{tag}   image hello:1   docker://HOST/hello:1
//! ```
//!
//! The values come from images and evaluations, which are not trusted. A value can therefore neither leave the
//! directory or the repository of the template, nor begin another part of the destination, nor contain a placeholder.

use anyhow::{Result, bail, ensure};

/// Fills the placeholders. `reference` is the image's own name.
pub fn fill(template: &str, attr: &str, reference: Option<&str>) -> Result<String> {
    let (name, tag) = match reference {
        Some(reference) => reference.rsplit_once(':').unwrap_or((reference, "latest")),
        None => ("", ""),
    };
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((placeholder, after)) = after.split_once('}') else {
            bail!("--to {template}: a brace is not closed; placeholders are {{name}}, {{tag}} and {{attr}}");
        };
        let value = match placeholder {
            "attr" => attr,
            "name" | "tag" if reference.is_none() => bail!("the image has no name; use {{attr}} in --to"),
            "name" => name,
            "tag" => tag,
            other => bail!("--to {template}: {{{other}}} is unknown; placeholders are {{name}}, {{tag}} and {{attr}}"),
        };
        check(placeholder, value)?;
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Errors if a value is not a relative path of plain components.
fn check(placeholder: &str, value: &str) -> Result<()> {
    let is_plain = value.split('/').all(|part| !matches!(part, "" | "." | ".."));
    ensure!(
        is_plain,
        "{{{placeholder}}} is {value:?}, which leaves the directory of --to; give it a destination of its own"
    );
    let special = value.contains([':', '@', '\\']) || value.chars().any(char::is_control);
    ensure!(
        !special,
        "{{{placeholder}}} is {value:?}, which cannot be part of a path; give the image its own destination"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fill_their_placeholders_once() {
        let fill = |template, attr| fill(template, attr, Some("quay.io/a/b:v1")).unwrap();
        assert_eq!(fill("docker://h/{name}:{tag}", "x"), "docker://h/quay.io/a/b:v1");
        assert_eq!(fill("oci:out/{attr}", "web.x86"), "oci:out/web.x86");
        assert_eq!(fill("oci:out/{attr}", "a..b"), "oci:out/a..b");
        assert_eq!(fill("oci:out/{attr}", "{tag}"), "oci:out/{tag}");
    }

    #[test]
    fn values_stay_in_the_directory_of_the_template() {
        for value in
            ["..", "../x", "a/../../x", "/etc", "a//b", "a/", ".", "", "a/./b", "x:1", "a@b", "a\nb", "a\\b", "a\0"]
        {
            assert!(fill("oci:out/{attr}", value, None).is_err(), "{value:?}");
            if !value.contains(':') {
                assert!(fill("oci:out/{name}", "x", Some(&format!("{value}:1"))).is_err(), "{value:?}");
                assert!(fill("oci:out/{tag}", "x", Some(&format!("x:{value}"))).is_err(), "{value:?}");
            }
        }
        for template in ["oci:{attr", "oci:{other}", "oci:{}"] {
            assert!(fill(template, "x", Some("a:1")).is_err(), "{template}");
        }
    }
}
