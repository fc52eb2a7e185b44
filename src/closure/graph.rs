//! A closure and its references, as `exportReferencesGraph` gives them:
//!
//! ```json
//! [ { "path": "/nix/store/…-hello", "references": ["/nix/store/…-glibc", "/nix/store/…-hello"],
//!     "narSize": 226560, "narHash": "sha256:…", "closureSize": 46113096 } ]
//! ```
//!
//! References may contain the path itself. Newer releases of Nix add keys (`valid`, `ca`),
//! so unknown keys are accepted.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ParseStorePathError, StoreDir, StorePath};

/// A validated closure: every reference leads to a node, and no path occurs twice.
///
/// It is serialized as a list of [`Node`]s, whose references are indices of that list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    index: HashMap<StorePath, usize>,
}

/// A store path of a closure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The store path.
    pub path: StorePath,
    /// The size of the path as a NAR, in bytes.
    pub nar_size: u64,
    /// The NAR hash that Nix recorded, `sha256:` and Nix base32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nar_hash: Option<String>,
    /// The indices of the other nodes that this node references, sorted. They never include the node itself.
    pub references: Vec<usize>,
    /// Whether the path references itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_reference: bool,
    /// Whether the path was requested, by `config` or `layers`, although other nodes reference it. Roots are not marked,
    /// because they are always requested.
    #[serde(rename = "asked", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_requested: bool,
}

/// The reason that a closure is refused.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// An entry is not a store path of this store.
    #[error("closure")]
    Path(#[from] ParseStorePathError),
    /// A path has two entries.
    #[error("closure: {0} is listed twice")]
    Duplicate(StorePath),
    /// A path references one that has no entry.
    #[error("closure: {from} references {to}, which is not in the closure")]
    Outside {
        /// The referencing path.
        from: StorePath,
        /// The referenced path.
        to: StorePath,
    },
    /// Paths reference each other in a cycle, which no store allows.
    #[error("closure: {0} references itself through other paths")]
    Cycle(StorePath),
}

/// An entry of the JSON that Nix writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawNode {
    path: String,
    references: Vec<String>,
    #[serde(default)]
    nar_size: u64,
    #[serde(default)]
    nar_hash: Option<String>,
}

impl RawNode {
    /// Creates an entry for `path`, whose NAR has `nar_size` bytes.
    pub fn new(path: String, references: Vec<String>, nar_size: u64, nar_hash: Option<String>) -> Self {
        Self { path, references, nar_size, nar_hash }
    }

    /// Returns the store directory of the path, if the path has a directory.
    pub fn store(&self) -> Option<&str> {
        self.path.rsplit_once('/').map(|(store, _)| store)
    }
}

impl Graph {
    /// Validates the entries that `exportReferencesGraph` wrote.
    ///
    /// # Errors
    ///
    /// [`GraphError`] when a path is malformed, outside `store` or listed twice,
    /// when a reference leads outside the closure, and on cycles.
    pub fn new(store: &StoreDir, mut raw: Vec<RawNode>) -> Result<Self, GraphError> {
        raw.sort_by(|a, b| a.path.cmp(&b.path));
        let mut index = HashMap::with_capacity(raw.len());
        let mut nodes = Vec::with_capacity(raw.len());
        for entry in &raw {
            let path = store.parse(&entry.path)?;
            if index.insert(path.clone(), nodes.len()).is_some() {
                return Err(GraphError::Duplicate(path));
            }
            nodes.push(Node {
                path,
                nar_size: entry.nar_size,
                nar_hash: entry.nar_hash.clone(),
                references: Vec::new(),
                self_reference: entry.references.contains(&entry.path),
                is_requested: false,
            });
        }
        for (at, entry) in raw.iter().enumerate() {
            let mut references = Vec::with_capacity(entry.references.len());
            for text in &entry.references {
                let to = store.parse(text)?;
                match index.get(&to) {
                    Some(&found) if found == at => {}
                    Some(&found) => references.push(found),
                    None => {
                        let from = nodes[at].path.clone();
                        return Err(GraphError::Outside { from, to });
                    }
                }
            }
            references.sort_unstable();
            references.dedup();
            nodes[at].references = references;
        }
        let graph = Self { nodes, index };
        match graph.topological_order() {
            order if order.len() == graph.nodes.len() => Ok(graph),
            order => {
                let ordered: HashSet<_> = order.into_iter().collect();
                let on_cycle = (0..graph.nodes.len()).find(|at| !ordered.contains(at));
                let at = on_cycle.expect("the order lacks a node");
                Err(GraphError::Cycle(graph.nodes[at].path.clone()))
            }
        }
    }

    /// Returns the union of closures. The entries of each closure are requested in the union, even if another closure
    /// references them.
    pub fn union<'a>(graphs: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all: BTreeMap<&StorePath, (&Self, &Node)> = BTreeMap::new();
        let mut entries: HashSet<&StorePath> = HashSet::new();
        for graph in graphs {
            all.extend(graph.nodes.iter().map(|node| (&node.path, (graph, node))));
            entries.extend(graph.entries().into_iter().map(|at| &graph.nodes[at].path));
        }
        let index: HashMap<StorePath, usize> = all.keys().enumerate().map(|(at, &path)| (path.clone(), at)).collect();
        let node = |(graph, node): &(&Self, &Node)| {
            let mut references: Vec<usize> = node.references.iter().map(|&to| index[&graph.nodes[to].path]).collect();
            references.sort_unstable();
            Node { references, is_requested: entries.contains(&node.path), ..(*node).clone() }
        };
        Self { nodes: all.values().map(node).collect(), index }.with_unmarked_roots()
    }

    /// Removes the mark `is_requested` from roots, as [`Node::is_requested`] demands.
    fn with_unmarked_roots(mut self) -> Self {
        self.roots().into_iter().for_each(|at| self.nodes[at].is_requested = false);
        self
    }

    /// Returns the closure without the roots that `is_removed` selects. The nodes that these referenced are requested.
    pub fn without_roots(&self, is_removed: impl Fn(&StorePath) -> bool) -> Self {
        let removed: HashSet<usize> = self.roots().into_iter().filter(|&at| is_removed(&self.nodes[at].path)).collect();
        let mut marked = self.clone();
        for &to in removed.iter().flat_map(|&at| &self.nodes[at].references) {
            marked.nodes[to].is_requested = true;
        }
        marked.without(|at| removed.contains(&at)).with_unmarked_roots()
    }

    /// Returns the closure without the nodes whose index `is_removed` selects, and without references to them.
    pub fn without(&self, is_removed: impl Fn(usize) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.nodes.len()).filter(|&at| !is_removed(at)).collect();
        let mut new_index = vec![None; self.nodes.len()];
        kept.iter().enumerate().for_each(|(new, &old)| new_index[old] = Some(new));
        let node = |&at: &usize| {
            let references = self.nodes[at].references.iter().filter_map(|&to| new_index[to]).collect();
            Node { references, ..self.nodes[at].clone() }
        };
        Self::from_nodes(kept.iter().map(node).collect())
    }

    fn from_nodes(nodes: Vec<Node>) -> Self {
        let index = nodes.iter().enumerate().map(|(at, node)| (node.path.clone(), at)).collect();
        Self { nodes, index }
    }

    /// Returns the nodes that no other node references.
    pub fn roots(&self) -> Vec<usize> {
        let mut referenced = vec![false; self.nodes.len()];
        self.nodes.iter().flat_map(|node| &node.references).for_each(|&to| referenced[to] = true);
        (0..self.nodes.len()).filter(|&at| !referenced[at]).collect()
    }

    /// Returns the requested nodes: the roots, and the nodes marked as requested.
    pub fn entries(&self) -> Vec<usize> {
        let mut entries = self.roots();
        entries.extend((0..self.nodes.len()).filter(|&at| self.nodes[at].is_requested));
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    /// Returns the referrers of each node.
    pub fn referrers(&self) -> Vec<Vec<usize>> {
        let mut referrers = vec![Vec::new(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            node.references.iter().for_each(|&to| referrers[to].push(at));
        }
        referrers
    }

    /// Returns the shortest chain of references from an entry to `node`, including both.
    pub fn chain_to(&self, node: usize) -> Vec<usize> {
        let mut predecessor: Vec<Option<usize>> = vec![None; self.nodes.len()];
        let mut queue: VecDeque<usize> = self.entries().into();
        let mut seen = vec![false; self.nodes.len()];
        queue.iter().for_each(|&at| seen[at] = true);
        while let Some(at) = queue.pop_front().filter(|&at| at != node) {
            for &to in self.nodes[at].references.iter().filter(|&&to| !std::mem::replace(&mut seen[to], true)) {
                predecessor[to] = Some(at);
                queue.push_back(to);
            }
        }
        let mut chain = vec![node];
        while let Some(referrer) = predecessor[chain[chain.len() - 1]] {
            chain.push(referrer);
        }
        chain.reverse();
        chain
    }

    /// Returns the index of a path, if the closure has it.
    pub fn position(&self, path: &StorePath) -> Option<usize> {
        self.index.get(path).copied()
    }

    /// The nodes, sorted by path.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the node of a path, if the closure has it.
    pub fn get(&self, path: &StorePath) -> Option<&Node> {
        self.index.get(path).map(|&at| &self.nodes[at])
    }

    /// Returns the node indices in topological order: each node is before the nodes it references. Nodes on a cycle,
    /// and nodes that are only reachable from a cycle, are missing.
    pub fn topological_order(&self) -> Vec<usize> {
        let mut referrers = vec![0usize; self.nodes.len()];
        for &to in self.nodes.iter().flat_map(|node| &node.references) {
            referrers[to] += 1;
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).filter(|&at| referrers[at] == 0).collect();
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            next += 1;
            for &to in &self.nodes[at].references {
                referrers[to] -= 1;
                if referrers[to] == 0 {
                    order.push(to);
                }
            }
        }
        order
    }
}

impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.nodes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Graph {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let graph = Self::from_nodes(Vec::deserialize(deserializer)?);
        let references = || graph.nodes.iter().flat_map(|node| &node.references);
        if graph.index.len() < graph.nodes.len() {
            return Err(D::Error::custom("a path of the closure is listed twice"));
        }
        if references().any(|&to| to >= graph.nodes.len()) || graph.topological_order().len() < graph.nodes.len() {
            return Err(D::Error::custom("the closure's references are circular or point outside it"));
        }
        Ok(graph)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Builds a graph of paths with one-letter names from text such as `a: b c, b: c, c:`.
    pub fn graph(text: &str) -> Result<Graph, GraphError> {
        let path = |name: &str| format!("/nix/store/{}-{name}", name.repeat(32));
        let raw = text
            .split(',')
            .map(|entry| {
                let (name, references) = entry.trim().split_once(':').unwrap();
                RawNode {
                    path: path(name),
                    references: references.split_whitespace().map(path).collect(),
                    nar_size: 1,
                    nar_hash: None,
                }
            })
            .collect();
        Graph::new(&StoreDir::default(), raw)
    }

    #[test]
    fn unknown_keys_are_accepted_and_self_references_dropped() {
        let path = format!("/nix/store/{}-a", "a".repeat(32));
        let raw = format!(r#"[{{"path":"{path}","references":["{path}"],"narSize":7,"valid":true,"new":[]}}]"#);
        let graph = Graph::new(&StoreDir::default(), serde_json::from_str(&raw).unwrap()).unwrap();
        assert_eq!(graph.nodes()[0].nar_size, 7);
        assert!(graph.nodes()[0].references.is_empty());
    }

    #[test]
    fn invalid_closures_are_refused() {
        assert!(matches!(graph("a: b"), Err(GraphError::Outside { .. })));
        assert!(matches!(graph("a:, a:"), Err(GraphError::Duplicate(_))));
        assert!(matches!(graph("a: b, b: a, c:"), Err(GraphError::Cycle(_))));
        let raw = serde_json::from_str(r#"[{"path":"/tmp/x","references":[]}]"#).unwrap();
        assert!(matches!(Graph::new(&StoreDir::default(), raw), Err(GraphError::Path(_))));
    }

    #[test]
    fn chain_to_returns_the_shortest_chain() {
        let graph = graph("a: b c, b: c, c: d, d:").unwrap();
        assert_eq!(graph.roots(), [0]);
        assert_eq!(graph.chain_to(3), [0, 2, 3]);
        assert_eq!(graph.chain_to(0), [0]);
    }

    #[test]
    fn unions_have_all_nodes_and_survive_serialization() {
        let (one, two) = (graph("a: c, c:").unwrap(), graph("b: c, c:").unwrap());
        let both = Graph::union([&one, &two]);
        assert_eq!(both, graph("a: c, b: c, c:").unwrap());
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), both);
        let root = |path: &StorePath| path.name() == "b";
        let rest = both.without_roots(root);
        assert_eq!((rest.roots(), rest.entries()), (one.roots(), vec![0, 1]));
        assert!(serde_json::from_str::<Graph>(&text.replace("[2]", "[3]")).is_err());
        assert!(serde_json::from_str::<Graph>(&text.replacen("[2]", "[0]", 1)).is_err());
    }

    #[test]
    fn requested_paths_are_entries_even_if_referenced() {
        let (image, layer) = (graph("a: c, c: d, d:").unwrap(), graph("c: d, d:").unwrap());
        assert_eq!((image.roots(), image.entries()), (vec![0], vec![0]));
        let both = Graph::union([&image, &layer]);
        assert_eq!((both.roots(), both.entries()), (vec![0], vec![0, 1]));
        assert_eq!(both.chain_to(2), [1, 2]);
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), both);
    }

    #[test]
    fn topological_order_puts_referrers_before_references() {
        let graph = graph("a: c, b: a c, c:").unwrap();
        assert_eq!(graph.topological_order(), [1, 0, 2]);
    }
}
