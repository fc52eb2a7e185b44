//! The output of `nix path-info --json`, whose form has changed several times.

use serde_json::Value;

/// Converts the entries of `nix path-info --json` to those of `exportReferencesGraph`:
///
/// ```text
/// Nix 2.8     [ { "path": "/nix/store/…-x", "references": [ "/nix/store/…-y" ], … } ]
/// Nix 2.19    { "/nix/store/…-x": { "references": [ "/nix/store/…-y" ], … }, "/nix/store/…-invalid": null }
/// Nix 2.33    { "version": 2 or 3, "storeDir": "/nix/store", "info": { "…-x": { "references": [ "…-y" ], … } } }
/// ```
///
/// The last one is that of `--json-format 2` and `3`, which differ in their signatures. Hashes are SRI strings or
/// objects there. Store paths that Nix does not have are left out. Returns `None` for other JSON.
pub fn entries(value: Value) -> Option<Value> {
    let mut object = match value {
        Value::Object(object) => object,
        list @ Value::Array(_) => return Some(list),
        _ => return None,
    };
    let store = object.get("storeDir").and_then(Value::as_str).unwrap_or("/nix/store").to_owned();
    let entries = match object.remove("info") {
        Some(Value::Object(entries)) => entries,
        _ => object,
    };
    let whole = |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("{store}/{path}") };
    let entry = |(path, info): (String, Value)| {
        let Value::Object(mut info) = info else { return None };
        let references = info.get("references").and_then(Value::as_array).into_iter().flatten();
        let references: Vec<String> = references.filter_map(Value::as_str).map(whole).collect();
        info.insert("references".to_owned(), references.into());
        info.insert("path".to_owned(), whole(&path).into());
        info.get("narHash").is_some_and(Value::is_object).then(|| info.remove("narHash"));
        Some(Value::Object(info))
    };
    Some(entries.into_iter().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::closure::{Graph, RawNode, StoreDir};

    #[test]
    fn recorded_outputs_of_nix_are_one_closure() {
        // The output of `nix path-info --recursive --json [--json-format N]` of these releases, for one store path.
        let outputs = [
            include_str!("../../tests/golden/path-info/2.8.json"),
            include_str!("../../tests/golden/path-info/2.26.json"),
            include_str!("../../tests/golden/path-info/2.34-format-1.json"),
            include_str!("../../tests/golden/path-info/2.34-format-2.json"),
        ];
        let graphs = outputs.map(|output| {
            let nodes = entries(serde_json::from_str(output).unwrap()).unwrap();
            let nodes: Vec<RawNode> = serde_json::from_value(nodes).unwrap();
            let graph = Graph::new(&StoreDir::default(), nodes).unwrap();
            let node = |node: &crate::closure::Node| (node.path.to_string(), node.nar_size, node.references.clone());
            graph.nodes().iter().map(node).collect::<Vec<_>>()
        });
        assert_eq!(graphs[0].len(), 3);
        assert!(graphs[0].iter().all(|(_, size, _)| *size > 0) && graphs[0].iter().any(|(.., to)| !to.is_empty()));
        assert!(graphs.iter().all(|graph| *graph == graphs[0]), "{graphs:?}");
    }

    #[test]
    fn every_format_of_path_info_is_read() {
        let (x, y) = ("/nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-x", "/nix/store/1c6a1cv41yy9yz8svln6w09ks4wdjk4n-y");
        let (short_x, short_y) = (&x[11..], &y[11..]);
        let nested = |version: u32, hash: Value| {
            json!({ "version": version, "storeDir": "/nix/store", "info": {
                short_x: { "narSize": 2, "references": [short_y], "narHash": hash, "path": short_x, "storeDir": "/nix/store" },
                short_y: { "narSize": 1, "references": [], "narHash": hash } } })
        };
        for format in [
            json!([{ "path": x, "narSize": 2, "references": [y] }, { "path": y, "narSize": 1, "references": [] }]),
            json!({ x: { "narSize": 2, "references": [y] }, y: { "narSize": 1, "references": [] }, "/nix/store/z": null }),
            nested(2, json!("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")),
            nested(
                3,
                json!({ "algorithm": "sha256", "format": "base64", "hash": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }),
            ),
        ] {
            let nodes: Vec<RawNode> = serde_json::from_value(entries(format.clone()).unwrap()).unwrap();
            let graph = Graph::new(&StoreDir::default(), nodes).unwrap();
            assert_eq!(graph.nodes().len(), 2, "{format}");
            assert_eq!(
                (graph.nodes()[0].path.as_str(), graph.nodes()[0].references.as_slice()),
                (x, [1].as_slice()),
                "{format}"
            );
        }
        assert!(entries(json!("x")).is_none());
    }
}
