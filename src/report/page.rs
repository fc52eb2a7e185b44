//! Writes an explanation as a self-contained HTML page with a treemap of layers and paths, search, and references.

use serde_json::{Value, json};

use super::explain::Explanation;
use crate::{closure::Graph, image::Image};

/// The page with a placeholder for the data.
const TEMPLATE: &str = include_str!("page.html");
const PLACEHOLDER: &str = "\"DATA\"";

/// Returns the page for an image.
pub fn page(image: &Image, explanation: &Explanation) -> String {
    let graph = image.closure.as_deref().map(references);
    let data = json!({ "explanation": explanation, "graph": graph }).to_string();
    // Without escaping, a `</script>` in the data would end the script element.
    TEMPLATE.replacen(PLACEHOLDER, &data.replace('<', "\\u003c"), 1)
}

fn references(graph: &Graph) -> Value {
    let mut is_root = vec![false; graph.nodes().len()];
    graph.entries().into_iter().for_each(|at| is_root[at] = true);
    let nodes: Vec<Value> = graph
        .nodes()
        .iter()
        .enumerate()
        .map(|(at, node)| {
            json!({ "path": node.path, "size": node.nar_size, "references": node.references, "root": is_root[at] })
        })
        .collect();
    nodes.into()
}
