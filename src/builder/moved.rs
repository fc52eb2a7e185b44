//! Warnings about packages that `copyToRoot` moves away from the store paths that settings and other packages refer to.
//!
//! ```text
//! copyToRoot = [ app ]    /nix/store/…-app/bin/app becomes /bin/app, and /nix/store/…-app is not in the image
//! Cmd = [ "${app}/bin/app" ], or a script in another package that names it: does not start
//! ```
//!
//! nix2container's buildImage moves packages too. A package of links (buildEnv) can be moved, since the targets of its
//! links stay.

use crate::closure::{Graph, StorePath};
use crate::terminal::note;

/// The maximum number of warnings for one image.
const LIMIT: usize = 8;

/// Warns of each path of the closure that refers to a moved path. `config` are the results of kind `config`.
pub fn warn(graph: &Graph, is_moved: impl Fn(&StorePath) -> bool, config: &[StorePath]) {
    let references = find(graph, is_moved, config);
    for (from, to) in references.iter().take(LIMIT) {
        note!(
            "warning: argument copyToRoot: {from} refers to {to}, which is not there in the image: copyToRoot moves its files to \
             /. Name the files there (/bin/NAME), give copyToRoot a package of links: pkgs.buildEnv {{ name = \"root\"; paths = \
             [ … ]; }}, or set keepStorePaths"
        );
    }
    if let Some(more @ 1..) = references.len().checked_sub(LIMIT) {
        note!("warning: argument copyToRoot: {more} more references like these");
    }
}

/// Returns pairs of a store path or setting that refers to a moved package, and that package.
fn find(graph: &Graph, is_moved: impl Fn(&StorePath) -> bool, config: &[StorePath]) -> Vec<(String, String)> {
    let nodes = graph.nodes();
    let mut found = Vec::new();
    for node in nodes {
        let from = match config.contains(&node.path) {
            true => "config".to_owned(),
            false => node.path.to_string(),
        };
        if node.self_reference && is_moved(&node.path) {
            found.push((from.clone(), "itself".to_owned()));
        }
        let targets = node.references.iter().map(|&at| &nodes[at].path).filter(|path| is_moved(path));
        found.extend(targets.map(|to| (from.clone(), to.to_string())));
    }
    found
}
