//! A closure and its references, as `exportReferencesGraph` gives them:
//!
//! ```json
//! [ { "path": "/nix/store/…-hello", "references": ["/nix/store/…-glibc", "/nix/store/…-hello"],
//!     "narSize": 226560, "narHash": "sha256:…", "closureSize": 46113096 } ]
//! ```
//!
//! References may contain the path itself. Newer Nix adds keys (`valid`, `ca`);
//! ones not named here are accepted.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ParseStorePathError, StoreDir, StorePath};

/// A validated closure: every reference leads to a node, every path is there once.
///
/// In image.json it is a list of [`Node`]s, whose references are indices of that list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    index: HashMap<StorePath, usize>,
}

/// A store path of a closure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The path.
    pub path: StorePath,
    /// Its size as a NAR, in bytes.
    pub nar_size: u64,
    /// What Nix recorded as its content, `sha256:` and Nix base32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nar_hash: Option<String>,
    /// Other nodes it references, as indices in order of their paths; never itself.
    pub references: Vec<usize>,
    /// Whether it references itself too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub self_reference: bool,
    /// Whether somebody asked for it by name though other nodes reference it: a path in `config` or in `layers`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

/// Why a closure was refused.
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
        /// The path that references.
        from: StorePath,
        /// The path referenced.
        to: StorePath,
    },
    /// Paths reference each other in a circle, which no store allows.
    #[error("closure: {0} references itself through other paths")]
    Cycle(StorePath),
}

/// One entry as Nix writes it.
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
    /// An entry for `path`, of `nar_size` bytes.
    pub fn new(path: String, references: Vec<String>, nar_size: u64, nar_hash: Option<String>) -> Self {
        Self { path, references, nar_size, nar_hash }
    }

    /// The directory of its path.
    pub fn store(&self) -> Option<&str> {
        self.path.rsplit_once('/').map(|(store, _)| store)
    }
}

impl Graph {
    /// Validates what `exportReferencesGraph` gave.
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
                asked: false,
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
                let sorted: std::collections::HashSet<_> = order.into_iter().collect();
                let stuck = (0..graph.nodes.len()).find(|at| !sorted.contains(at));
                let at = stuck.expect("fewer nodes were ordered than there are");
                Err(GraphError::Cycle(graph.nodes[at].path.clone()))
            }
        }
    }

    /// The union of closures; what one of them has for itself is asked for, also where another references it.
    ///
    /// # Panics
    ///
    /// Never: every one of them is whole.
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
            Node { references, asked: entries.contains(&node.path), ..(*node).clone() }
        };
        Self { nodes: all.values().map(node).collect(), index }.with_asked_where_referenced()
    }

    /// Roots need no note that they are asked for.
    fn with_asked_where_referenced(mut self) -> Self {
        self.roots().into_iter().for_each(|at| self.nodes[at].asked = false);
        self
    }

    /// The closure without paths that nothing references, where `left_out` answers for them; what those referenced is
    /// asked for.
    pub fn without_roots(&self, left_out: impl Fn(&StorePath) -> bool) -> Self {
        let gone: HashSet<usize> = self.roots().into_iter().filter(|&at| left_out(&self.nodes[at].path)).collect();
        let mut rest = self.clone();
        for &to in gone.iter().flat_map(|&at| &self.nodes[at].references) {
            rest.nodes[to].asked = true;
        }
        rest.without(|at| gone.contains(&at)).with_asked_where_referenced()
    }

    /// The closure without some paths (by index), and without references to them.
    pub fn without(&self, left_out: impl Fn(usize) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.nodes.len()).filter(|&at| !left_out(at)).collect();
        let mut place = vec![None; self.nodes.len()];
        kept.iter().enumerate().for_each(|(new, &old)| place[old] = Some(new));
        let node = |&at: &usize| {
            let references = self.nodes[at].references.iter().filter_map(|&to| place[to]).collect();
            Node { references, ..self.nodes[at].clone() }
        };
        Self::of(kept.iter().map(node).collect())
    }

    fn of(nodes: Vec<Node>) -> Self {
        let index = nodes.iter().enumerate().map(|(at, node)| (node.path.clone(), at)).collect();
        Self { nodes, index }
    }

    /// Nodes that nothing else references.
    pub fn roots(&self) -> Vec<usize> {
        let mut referenced = vec![false; self.nodes.len()];
        self.nodes.iter().flat_map(|node| &node.references).for_each(|&to| referenced[to] = true);
        (0..self.nodes.len()).filter(|&at| !referenced[at]).collect()
    }

    /// Nodes that the image is for: the roots, and those asked for by name that others reference too.
    pub fn entries(&self) -> Vec<usize> {
        let mut entries = self.roots();
        entries.extend((0..self.nodes.len()).filter(|&at| self.nodes[at].asked));
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    /// For each node, those that reference it.
    pub fn referrers(&self) -> Vec<Vec<usize>> {
        let mut referrers = vec![Vec::new(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            node.references.iter().for_each(|&to| referrers[to].push(at));
        }
        referrers
    }

    /// The shortest chain of references to `node` from one that the image is for, both included.
    pub fn chain_to(&self, node: usize) -> Vec<usize> {
        let mut came_from: Vec<Option<usize>> = vec![None; self.nodes.len()];
        let mut queue: VecDeque<usize> = self.entries().into();
        let mut seen = vec![false; self.nodes.len()];
        queue.iter().for_each(|&at| seen[at] = true);
        while let Some(at) = queue.pop_front().filter(|&at| at != node) {
            for &to in self.nodes[at].references.iter().filter(|&&to| !std::mem::replace(&mut seen[to], true)) {
                came_from[to] = Some(at);
                queue.push_back(to);
            }
        }
        let mut chain = vec![node];
        while let Some(before) = came_from[chain[chain.len() - 1]] {
            chain.push(before);
        }
        chain.reverse();
        chain
    }

    /// The index of a path of the closure.
    pub fn position(&self, path: &StorePath) -> Option<usize> {
        self.index.get(path).copied()
    }

    /// The nodes, sorted by path.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of a path of the closure.
    pub fn get(&self, path: &StorePath) -> Option<&Node> {
        self.index.get(path).map(|&at| &self.nodes[at])
    }

    /// Node indices, each before everything it references; nodes on a cycle,
    /// and what only they lead to, are left out.
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
        let graph = Self::of(Vec::deserialize(deserializer)?);
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

    /// A graph of paths with one-letter names: `a: b c, b: c, c:`.
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
    fn broken_closures_are_refused() {
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
    fn closures_are_united_and_written() {
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
    fn referrers_come_before_what_they_reference() {
        let graph = graph("a: c, b: a c, c:").unwrap();
        assert_eq!(graph.topological_order(), [1, 0, 2]);
    }
}
