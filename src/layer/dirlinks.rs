//! Links to directories, and the choice of links that become directories.
//!
//! ```text
//! bin -> /nix/store/…-x/bin     a directory with the files of the other one
//! usr -> .                      stays a link: it would contain itself
//! a/to-b -> ../b                both stay links: each would contain the other, as in the packages of
//! b/to-a -> ../a                a pnpm workspace do
//! ```
//!
//! A link stays a link if there is a path over directories and links from its target back to the directory of the link.
//! Directories are the nodes of a graph, and their subdirectories and the targets of their links are its edges. The
//! links that stay are those inside of a strongly connected component (found with Tarjan's algorithm). The rest has no
//! cycles, but may still become large, so its size is limited.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The maximum number of directories in a tree. Chains of links can double the number at each step.
const LIMIT: u64 = 1_000_000;

/// The directories below a directory, and those that links there lead to.
#[derive(Debug)]
pub struct Dirlinks {
    /// The number of the component of each directory, by canonical path.
    component: HashMap<PathBuf, usize>,
}

struct LinkedDirectory {
    path: PathBuf,
    /// The target directory, and whether a link leads there.
    edges: Vec<(usize, bool)>,
    /// The index of Tarjan's algorithm, or `None` before the visit.
    index: Option<usize>,
    low: usize,
    component: Option<usize>,
    /// The number of directories that this directory becomes.
    weight: u64,
}

impl Dirlinks {
    /// Returns the links below `top`, or none if `top` is not a directory.
    ///
    /// # Errors
    ///
    /// If a directory cannot be read, or if links make the tree larger than the limit.
    pub fn new(top: &Path) -> io::Result<Self> {
        let mut found = Search::default();
        if !fs::metadata(top)?.is_dir() {
            return Ok(Self { component: HashMap::new() });
        }
        let start = found.number(fs::canonicalize(top)?);
        found.visit(start)?;
        if found.all[start].weight > LIMIT {
            let message = format!("following links to directories gives more than {LIMIT} directories");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let component = |one: LinkedDirectory| one.component.map(|component| (one.path, component));
        Ok(Self { component: found.all.into_iter().filter_map(component).collect() })
    }

    /// Returns the directory that the link at `link` becomes.
    pub fn directory_of(&self, link: &Path) -> Option<PathBuf> {
        let target = fs::canonicalize(link).ok()?;
        let link_directory = fs::canonicalize(link.parent()?).ok()?;
        let (to, from) = (self.component.get(&target)?, self.component.get(&link_directory)?);
        (to != from).then_some(target)
    }
}

#[derive(Default)]
struct Search {
    all: Vec<LinkedDirectory>,
    numbers: HashMap<PathBuf, usize>,
    /// Directories that were visited and are in no component yet.
    open: Vec<usize>,
    visited: usize,
    components: usize,
}

impl Search {
    fn number(&mut self, path: PathBuf) -> usize {
        *self.numbers.entry(path).or_insert_with_key(|path| {
            let (path, edges) = (path.clone(), Vec::new());
            self.all.push(LinkedDirectory { path, edges, index: None, low: 0, component: None, weight: 1 });
            self.all.len() - 1
        })
    }

    /// Tarjan's depth-first search with an explicit stack, since trees may be deep.
    fn visit(&mut self, start: usize) -> io::Result<()> {
        self.enter(start)?;
        let mut stack = vec![(start, 0)];
        while let Some((at, next)) = stack.last_mut() {
            let at = *at;
            if let Some(&(to, _)) = self.all[at].edges.get(*next) {
                *next += 1;
                match (self.all[to].index, self.all[to].component) {
                    (None, _) => {
                        self.enter(to)?;
                        stack.push((to, 0));
                    }
                    (Some(index), None) => self.all[at].low = self.all[at].low.min(index),
                    _ => {}
                }
                continue;
            }
            stack.pop();
            if let Some(&(above, _)) = stack.last() {
                self.all[above].low = self.all[above].low.min(self.all[at].low);
            }
            if Some(self.all[at].low) == self.all[at].index {
                self.close(at);
            }
        }
        Ok(())
    }

    fn enter(&mut self, at: usize) -> io::Result<()> {
        self.all[at].index = Some(self.visited);
        self.all[at].low = self.visited;
        self.visited += 1;
        self.open.push(at);
        let directory = self.all[at].path.clone();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let edge = if kind.is_dir() {
                Some((entry.path(), false))
            } else if kind.is_symlink() {
                // A dangling link leads to no directory.
                fs::canonicalize(entry.path()).ok().filter(|target| target.is_dir()).map(|target| (target, true))
            } else {
                None
            };
            if let Some((path, is_link)) = edge {
                let to = self.number(path);
                self.all[at].edges.push((to, is_link));
            }
        }
        Ok(())
    }

    /// Ends the component whose first directory is `first`. The components that its links lead to have ended before.
    fn close(&mut self, first: usize) {
        let start = self.open.iter().rposition(|&one| one == first).unwrap_or(0);
        let mut members = self.open.split_off(start);
        for &member in &members {
            self.all[member].component = Some(self.components);
        }
        self.components += 1;
        // Inside of a component, only directories contain directories, and the path of a contained directory is longer.
        members.sort_by_key(|&member| std::cmp::Reverse(self.all[member].path.as_os_str().len()));
        for &member in &members {
            let is_followed =
                |&&(to, is_link): &&(usize, bool)| !is_link || self.all[to].component != self.all[member].component;
            let weights = self.all[member].edges.iter().filter(is_followed).map(|&(to, _)| self.all[to].weight);
            self.all[member].weight = weights.fold(1, u64::saturating_add);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(directories: &[&str], links: &[(&str, &str)]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for directory in directories {
            fs::create_dir_all(top.path().join(directory)).unwrap();
        }
        for (link, target) in links {
            symlink(target, top.path().join(link)).unwrap();
        }
        top
    }

    fn followed(directories: &[&str], links: &[(&str, &str)]) -> Vec<String> {
        let top = tree(directories, links);
        let dirlinks = Dirlinks::new(top.path()).unwrap();
        let follows = |link: &str| dirlinks.directory_of(&top.path().join(link)).is_some();
        links.iter().filter(|(link, _)| follows(link)).map(|(link, _)| (*link).to_owned()).collect()
    }

    #[test]
    fn links_stay_where_following_them_has_no_end() {
        let none: [String; 0] = [];
        // Ordinary links are followed, also over other links, in any order.
        assert_eq!(followed(&["lib"], &[("lib64", "lib")]), ["lib64"]);
        assert_eq!(followed(&["a", "b", "c"], &[("a/b", "../b"), ("b/c", "../c")]), ["a/b", "b/c"]);
        // Links to themselves, to a near or distant parent, to each other, and in a cycle of three.
        assert_eq!(followed(&["bin"], &[("usr", ".")]), none);
        assert_eq!(followed(&["a/b/c"], &[("a/b/c/up", "../..")]), none);
        assert_eq!(followed(&["a/b/c"], &[("a/b/c/top", "../../..")]), none);
        assert_eq!(followed(&["a", "b"], &[("a/b", "../b"), ("b/a", "../a")]), none);
        assert_eq!(followed(&["a", "b", "c"], &[("a/b", "../b"), ("b/c", "../c"), ("c/a", "../a")]), none);
        // Links into subdirectories of each other.
        assert_eq!(followed(&["a/x", "b/y"], &[("a/x/b", "../../b"), ("b/y/a", "../../a")]), none);
        // A link into a cycle is not part of the cycle.
        assert_eq!(followed(&["a", "b", "c"], &[("a/b", "../b"), ("b/a", "../a"), ("c/a", "../a")]), ["c/a"]);
        // Links to nothing, to a file, and in a cycle without a directory.
        assert_eq!(followed(&["a"], &[("gone", "nothing"), ("one", "two"), ("two", "one")]), none);
    }

    #[test]
    fn nested_directory_links_are_bounded() {
        let names: Vec<String> = (0..40).map(|at| format!("d{at}")).collect();
        let mut links = Vec::new();
        for (at, name) in names.iter().enumerate().skip(1) {
            for twice in ["x", "y"] {
                links.push((format!("d{}/{twice}", at - 1), format!("../{name}")));
            }
        }
        let links: Vec<(&str, &str)> = links.iter().map(|(link, target)| (link.as_str(), target.as_str())).collect();
        let top = tree(&names.iter().map(String::as_str).collect::<Vec<_>>(), &links);
        assert!(Dirlinks::new(top.path()).unwrap_err().to_string().contains("links to directories"));
    }
}
