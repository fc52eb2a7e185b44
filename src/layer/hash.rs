//! Hashes many layers at once.
//!
//! Layers are hashed in parallel, the largest first, so that a small one ends last. A layer that alone would keep one
//! core busy for longer than its share (its size times the number of cores exceeds the sum) is read on one thread and
//! hashed on another. The others are read and hashed on one thread, which costs less.

use std::io;

use super::{Result, Tree, write, write_overlapped};
use crate::oci::{Digest, Sha256Writer};

/// The digest and size of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    pub digest: Digest,
    pub size: u64,
}

/// Hashes every tree. Each element of `trees` has an estimate of its size in bytes.
///
/// The results are in the order of `trees`.
///
/// # Errors
///
/// The first error, in the order of `trees`.
pub fn hash_all(trees: &[(&Tree, u64)]) -> Result<Vec<Hashed>> {
    let total: u64 = trees.iter().map(|(_, size)| size).sum();
    let cores = rayon::current_num_threads() as u64;
    let mut order: Vec<usize> = (0..trees.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(trees[at].1));
    let mut results: Vec<Option<Result<Hashed>>> = trees.iter().map(|_| None).collect();
    let mut slots: Vec<_> = results.iter_mut().map(Some).collect();
    rayon::scope_fifo(|scope| {
        for at in order {
            let (tree, size) = trees[at];
            let slot = slots[at].take().expect("each layer is hashed once");
            let overlap = size.saturating_mul(cores) > total;
            scope.spawn_fifo(move |_| *slot = Some(hash(tree, overlap)));
        }
    });
    results.into_iter().map(|result| result.expect("the scope waits for all layers")).collect()
}

fn hash(tree: &Tree, overlap: bool) -> Result<Hashed> {
    let sink = Sha256Writer::new(io::sink());
    let sink = if overlap { write_overlapped(tree, sink)? } else { write(tree, sink)? };
    let (_, digest, size) = sink.finish();
    Ok(Hashed { digest, size })
}
