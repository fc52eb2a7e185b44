//! `strata inspect --format TEMPLATE`: the subset of Go's templates that users of `skopeo inspect` need.
//!
//! ```text
//! {{.Digest}}                     a field; names are compared without case and underscores
//! {{json .Labels}}  {{json .}}    as JSON
//! {{index .Labels "key"}}         a value of a map
//! ```
//!
//! The fields are those of `skopeo inspect` (skopeo, cmd/skopeo/inspect/output.go), or with `--config` those of the
//! config. Lists and maps are printed in the format of Go: `[a b]`, `map[key:value]`.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Whether a template stands for all fields as JSON (containers/common, pkg/report, `IsJSON`).
pub fn is_json(template: &str) -> bool {
    let words: String = template.split_whitespace().collect();
    ["json", "{{json.}}", "{{json}}"].contains(&words.as_str())
}

/// Fills a template.
pub fn render(template: &str, value: &Value) -> Result<String> {
    let template = template.replace("\\n", "\n").replace("\\t", "\t");
    let mut filled = String::new();
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (action, after) =
            after.split_once("}}").with_context(|| format!("--format {template}: a {{{{ is not closed"))?;
        filled.push_str(&act(action.trim(), value).with_context(|| format!("--format: {{{{{action}}}}}"))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn act(action: &str, value: &Value) -> Result<String> {
    let words: Vec<&str> = action.split_whitespace().collect();
    match words.as_slice() {
        [path] if path.starts_with('.') => find(path, value).map(|found| text(path, found)),
        ["json", path] | [path, "|", "json"] if path.starts_with('.') => Ok(find(path, value)?.to_string()),
        ["index", path, key] if path.starts_with('.') => {
            let key: String = serde_json::from_str(key).context("the key is a string in quotes")?;
            // As in Go, a missing key is an empty string.
            Ok(find(path, value)?.get(&key).map(|found| text(path, found)).unwrap_or_default())
        }
        _ => bail!("strata knows fields, json and index alone; use `inspect --json` and jq"),
    }
}

/// Returns the value at a path such as `.Config.Labels`.
fn find<'a>(path: &str, value: &'a Value) -> Result<&'a Value> {
    let folded = |name: &str| name.replace('_', "").to_lowercase();
    path.split('.').filter(|name| !name.is_empty()).try_fold(value, |object, name| {
        let fields = object.as_object().with_context(|| format!("there is no field {name} in it"))?;
        let found = fields.get(name).or_else(|| {
            let mut others = fields.iter().filter(|(field_name, _)| folded(field_name) == folded(name));
            others.next().map(|(_, value)| value)
        });
        found.with_context(|| {
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            format!("there is no field {name}; there are {}", names.join(", "))
        })
    })
}

/// Returns a value in the format of Go.
fn text(path: &str, value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) if path.ends_with(".Created") => text
            .strip_suffix('Z')
            .map_or_else(|| text.clone(), |time| format!("{} +0000 UTC", time.replacen('T', " ", 1))),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(text_of_part).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut entries: Vec<String> =
                map.iter().map(|(key, entry)| format!("{key}:{}", text_of_part(entry))).collect();
            entries.sort();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

fn text_of_part(value: &Value) -> String {
    text("", value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_filled_as_go_fills_them() {
        let value = json!({ "Digest": "sha256:0", "Labels": { "b": "2", "a": "1" }, "Layers": ["x", "y"],
            "Created": "2021-02-03T04:05:06Z", "rootfs": { "diff_ids": ["z"] }, "Env": null });
        for (template, filled) in [
            ("{{.Digest}}", "sha256:0"),
            ("{{ .Digest }} {{.digest}}", "sha256:0 sha256:0"),
            ("{{.Labels}}", "map[a:1 b:2]"),
            ("{{.Layers}}", "[x y]"),
            ("{{json .Layers}} {{ .Layers | json }}", "[\"x\",\"y\"] [\"x\",\"y\"]"),
            ("{{index .Labels \"a\"}}{{index .Labels \"c\"}}", "1"),
            ("{{.Created}}", "2021-02-03 04:05:06 +0000 UTC"),
            ("{{.RootFS.DiffIDs}}\\t.", "[z]\t."),
            ("{{.Env}}", "<no value>"),
            ("plain", "plain"),
        ] {
            assert_eq!(render(template, &value).unwrap(), filled, "{template}");
        }
        for (template, reason) in [
            ("{{.Nothing}}", "there is no field Nothing; there are Created, Digest"),
            ("{{range .Layers}}{{end}}", "use `inspect --json` and jq"),
            ("{{.Digest", "is not closed"),
            ("{{.Digest.x}}", "there is no field x in it"),
        ] {
            let error = format!("{:#}", render(template, &value).unwrap_err());
            assert!(error.contains(reason), "{template}: {error}");
        }
    }
}
