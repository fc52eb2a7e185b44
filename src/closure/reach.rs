//! The nodes that each node reaches: itself, its references, their references, and so on.
//!
//! A matrix with a bit for each pair of nodes would grow with the square of the closure. Instead, the columns are computed
//! in blocks for all nodes, and each block is processed before the next one overwrites it:
//!
//! ```text
//!          columns 0…511   512…1023   …          row of a node = its own bit ∪ the rows of its references
//! node 0        ▓              ░
//! node 1        ▓              ░
//! ```
//!
//! This takes 64 bytes of memory per node, in addition to the results.

use std::rc::Rc;

use super::{
    Graph,
    set::{Bits, Scale, Set, members},
};

/// The number of words in a row of a block. It is small enough that the rows of tens of thousands of nodes fit a CPU cache.
const WORDS: usize = 8;

/// The row of one node in a block.
type Row = [u64; WORDS];

/// Calls `visit` with every block: the index of its first word, and the rows of all nodes.
fn for_each_block(graph: &Graph, mut visit: impl FnMut(usize, &[Row])) {
    let nodes = graph.nodes();
    let mut order = graph.topological_order();
    order.reverse();
    let mut rows: Vec<Row> = vec![[0; WORDS]; nodes.len()];
    for first in (0..nodes.len().div_ceil(64)).step_by(WORDS) {
        for &at in &order {
            let mut row = [0; WORDS];
            if let Some(word) = (at / 64).checked_sub(first).and_then(|word| row.get_mut(word)) {
                *word = 1 << (at % 64);
            }
            for &to in &nodes[at].references {
                row.iter_mut().zip(&rows[to]).for_each(|(word, other)| *word |= other);
            }
            rows[at] = row;
        }
        visit(first, &rows);
    }
}

/// Returns, for every node, the set of nodes that it reaches.
pub(super) fn reached(graph: &Graph) -> Vec<Set> {
    let bound = graph.nodes().len();
    let mut counts = vec![0; bound];
    for_each_block(graph, |_, rows| {
        for (count, row) in counts.iter_mut().zip(rows) {
            *count += row.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        }
    });
    /// A set that blocks are still added to.
    enum Partial {
        List(Vec<u32>),
        Bits(Bits),
    }
    let empty = |&count: &usize| match Set::is_list(count, bound) {
        true => Partial::List(Vec::with_capacity(count)),
        false => Partial::Bits(Bits::new(bound)),
    };
    let mut reached: Vec<Partial> = counts.iter().map(empty).collect();
    for_each_block(graph, |first, rows| {
        for (reached, row) in reached.iter_mut().zip(rows) {
            match reached {
                Partial::List(list) => {
                    let found = (first..).zip(row).flat_map(|(at, &word)| members(at, word));
                    list.extend(found.map(|at| at as u32));
                }
                Partial::Bits(bits) => bits.set_words(first, row),
            }
        }
    });
    let complete = |partial| match partial {
        Partial::List(list) => Set::List(list.into()),
        Partial::Bits(bits) => Set::Bits(Rc::new(bits)),
    };
    reached.into_iter().map(complete).collect()
}

/// Returns, for every node, the sum of the weights of the nodes that it reaches.
pub(super) fn reached_weights(graph: &Graph, weights: &[u64]) -> Vec<u64> {
    let scale = Scale::new(weights.to_vec());
    let mut sums = vec![0; weights.len()];
    for_each_block(graph, |first, rows| {
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum += scale.weigh_words(first, row.iter().copied());
        }
    });
    sums
}
