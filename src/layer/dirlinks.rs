//! Links that lead to directories, and which of them become those directories.
//!
//! ```text
//! bin -> /nix/store/…-x/bin     a directory with the files of the other one
//! usr -> .                      stays: it would hold itself
//! a/to-b -> ../b                stay both: each would hold the other, as the packages of
//! b/to-a -> ../a                a pnpm workspace do
//! ```
//!
//! A link stays where the directory that it leads to comes back, over directories
//! and links, to the one with the link. Directories are the nodes of a graph,
//! what they hold and where their links lead its edges; those links are the ones
//! inside of a strongly connected component (Tarjan's algorithm finds them). What
//! is left has no circle, but may still be big: it is bounded.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// A tree that becomes more directories than this is refused: links of links double it at each step.
const LIMIT: u64 = 1_000_000;

/// The directories below one, and those that links there lead to.
#[derive(Debug)]
pub struct Dirlinks {
    /// Number of the component of each, by canonical path.
    component: HashMap<PathBuf, usize>,
}

struct Directory {
    path: PathBuf,
    /// Where it leads, and whether by a link.
    edges: Vec<(usize, bool)>,
    /// Tarjan's numbers; `None` before it is visited.
    index: Option<usize>,
    low: usize,
    component: Option<usize>,
    /// How many directories it becomes.
    weight: u64,
}

impl Dirlinks {
    /// Those of `top`; none where it is not a directory.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read, or when links make more of it than an image could hold.
    pub fn of(top: &Path) -> io::Result<Self> {
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
        let component = |one: Directory| one.component.map(|component| (one.path, component));
        Ok(Self { component: found.all.into_iter().filter_map(component).collect() })
    }

    /// The directory that the link at `link` becomes.
    pub fn behind(&self, link: &Path) -> Option<PathBuf> {
        let target = fs::canonicalize(link).ok()?;
        let own = fs::canonicalize(link.parent()?).ok()?;
        let (to, from) = (self.component.get(&target)?, self.component.get(&own)?);
        (to != from).then_some(target)
    }
}

#[derive(Default)]
struct Search {
    all: Vec<Directory>,
    numbers: HashMap<PathBuf, usize>,
    /// Visited, and in no component yet.
    open: Vec<usize>,
    visited: usize,
    components: usize,
}

impl Search {
    fn number(&mut self, path: PathBuf) -> usize {
        *self.numbers.entry(path).or_insert_with_key(|path| {
            let (path, edges) = (path.clone(), Vec::new());
            self.all.push(Directory { path, edges, index: None, low: 0, component: None, weight: 1 });
            self.all.len() - 1
        })
    }

    /// Tarjan's depth-first search, with a stack of its own: trees may be deep.
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
                // One that leads nowhere leads to no directory.
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

    /// Ends the component whose first directory is `first`; what its links lead to has ended before.
    fn close(&mut self, first: usize) {
        let start = self.open.iter().rposition(|&one| one == first).unwrap_or(0);
        let mut members = self.open.split_off(start);
        for &member in &members {
            self.all[member].component = Some(self.components);
        }
        self.components += 1;
        // Inside of a component only directories hold directories, and what is held has the longer path.
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
        let dirlinks = Dirlinks::of(top.path()).unwrap();
        let follows = |link: &str| dirlinks.behind(&top.path().join(link)).is_some();
        links.iter().filter(|(link, _)| follows(link)).map(|(link, _)| (*link).to_owned()).collect()
    }

    #[test]
    fn links_stay_where_following_them_has_no_end() {
        let none: [String; 0] = [];
        // Plain ones are followed, also over others, in whatever order.
        assert_eq!(followed(&["lib"], &[("lib64", "lib")]), ["lib64"]);
        assert_eq!(followed(&["a", "b", "c"], &[("a/b", "../b"), ("b/c", "../c")]), ["a/b", "b/c"]);
        // To itself, to what holds it, nearer and farther, to each other, around three.
        assert_eq!(followed(&["bin"], &[("usr", ".")]), none);
        assert_eq!(followed(&["a/b/c"], &[("a/b/c/up", "../..")]), none);
        assert_eq!(followed(&["a/b/c"], &[("a/b/c/top", "../../..")]), none);
        assert_eq!(followed(&["a", "b"], &[("a/b", "../b"), ("b/a", "../a")]), none);
        assert_eq!(followed(&["a", "b", "c"], &[("a/b", "../b"), ("b/c", "../c"), ("c/a", "../a")]), none);
        // Below what the other holds.
        assert_eq!(followed(&["a/x", "b/y"], &[("a/x/b", "../../b"), ("b/y/a", "../../a")]), none);
        // A link into a circle is none of it.
        assert_eq!(followed(&["a", "b", "c"], &[("a/b", "../b"), ("b/a", "../a"), ("c/a", "../a")]), ["c/a"]);
        // Nowhere, to a file, around without a directory.
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
        assert!(Dirlinks::of(top.path()).unwrap_err().to_string().contains("links to directories"));
    }
}
