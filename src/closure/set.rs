//! Sets of node indices, and the weights of their members.
//!
//! A set with few members is a list, and a set with many members has a bit for every index. Each set uses the form that takes
//! less memory.

use std::{cmp::Ordering, rc::Rc};

/// The bits that a member of a list takes. The other form takes one bit for every index.
const BITS_PER_MEMBER: usize = 32;

/// A set of indices below a fixed bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// The members in order.
    List(Rc<[u32]>),
    /// A bit for every index.
    Bits(Rc<Bits>),
}

/// A set with a bit for every index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    pub fn contains(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    pub fn insert(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    pub fn remove(&mut self, at: usize) {
        self.0[at / 64] &= !(1 << (at % 64));
    }

    /// Replaces the words from index `first` on. Words past the bound are ignored.
    pub fn set_words(&mut self, first: usize, words: &[u64]) {
        self.0[first..].iter_mut().zip(words).for_each(|(word, new)| *word = *new);
    }

    /// Adds all members of `set`.
    pub fn unite(&mut self, set: &Set) {
        match set {
            Set::List(list) => list.iter().for_each(|&at| self.insert(at as usize)),
            Set::Bits(bits) => self.0.iter_mut().zip(&bits.0).for_each(|(word, other)| *word |= other),
        }
    }

    fn members(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(at, &word)| members(at, word))
    }
}

/// Returns the members of the word with index `at`.
pub(super) fn members(at: usize, mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(at * 64 + bit)
    })
}

impl Set {
    /// Returns whether a set of `count` indices below `bound` is kept as a list.
    pub fn is_list(count: usize, bound: usize) -> bool {
        count.saturating_mul(BITS_PER_MEMBER) <= bound
    }

    /// Returns the members in order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::List(list) => Box::new(list.iter().map(|&at| at as usize)),
            Self::Bits(bits) => Box::new(bits.members()),
        }
    }

    pub fn empty() -> Self {
        Self::List(Rc::default())
    }

    /// Returns the union of `sets`, whose indices are below `bound`.
    pub fn union_all<'a>(sets: impl Iterator<Item = &'a Self>, bound: usize) -> Self {
        let mut bits = Bits::new(bound);
        sets.for_each(|set| bits.unite(set));
        let members: Vec<u32> = bits.members().map(|at| at as u32).collect();
        if Self::is_list(members.len(), bound) { Self::List(members.into()) } else { Self::Bits(Rc::new(bits)) }
    }

    /// Returns the union of two sets, whose indices are below `bound`.
    pub fn union(&self, other: &Self, bound: usize) -> Self {
        match (self, other) {
            (Self::List(one), Self::List(two)) => {
                let list = merge_sorted(one, two);
                if Self::is_list(list.len(), bound) {
                    return Self::List(list.into());
                }
                let mut bits = Bits::new(bound);
                list.into_iter().for_each(|at| bits.insert(at as usize));
                Self::Bits(Rc::new(bits))
            }
            (Self::Bits(bits), set) | (set, Self::Bits(bits)) => {
                let mut bits = Bits::clone(bits);
                bits.unite(set);
                Self::Bits(Rc::new(bits))
            }
        }
    }

    /// Compares the sorted members of two sets as lists.
    pub fn cmp_members(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::List(one), Self::List(two)) => one.cmp(two),
            _ => self.iter().cmp(other.iter()),
        }
    }
}

/// Merges two sorted lists, without duplicates.
fn merge_sorted(mut one: &[u32], mut two: &[u32]) -> Vec<u32> {
    let mut list = Vec::with_capacity(one.len() + two.len());
    while let (Some(first), Some(second)) = (one.first(), two.first()) {
        list.push(*first.min(second));
        let (first, second) = (first <= second, second <= first);
        one = &one[usize::from(first)..];
        two = &two[usize::from(second)..];
    }
    list.extend(one);
    list.extend(two);
    list
}

/// The weights of the indices. If all indices of a word have the same weight, the bits of the word are counted instead of
/// adding up weights.
#[derive(Debug)]
pub(super) struct Scale {
    weights: Vec<u64>,
    /// For each word, the weight of its indices if they all have the same one.
    word_weights: Vec<Option<u64>>,
    /// The weight of the indices if they all have the same one.
    uniform_weight: Option<u64>,
}

impl Scale {
    pub fn new(weights: Vec<u64>) -> Self {
        let uniform = |weights: &[u64]| weights.iter().all(|weight| *weight == weights[0]).then(|| weights[0]);
        let word_weights = weights.chunks(64).map(uniform).collect();
        let uniform_weight = if weights.is_empty() { Some(0) } else { uniform(&weights) };
        Self { weights, word_weights, uniform_weight }
    }

    /// Returns the bound of the indices.
    pub fn bound(&self) -> usize {
        self.weights.len()
    }

    pub fn weight(&self, at: usize) -> u64 {
        self.weights[at]
    }

    /// Returns the sum of the weights of the members of a set.
    pub fn weigh(&self, set: &Set) -> u64 {
        match set {
            Set::List(list) => self.weigh_list(list.iter().copied()),
            Set::Bits(bits) => self.weigh_words(0, bits.0.iter().copied()),
        }
    }

    /// Returns the sum of the weights of the members of `words`, which start at word index `first`. Words past the bound are
    /// ignored.
    pub fn weigh_words(&self, first: usize, words: impl Iterator<Item = u64>) -> u64 {
        let word = |(at, word): (usize, u64)| match self.word_weights.get(at) {
            None => 0,
            Some(Some(weight)) => weight * u64::from(word.count_ones()),
            Some(None) => members(at, word).map(|member| self.weights[member]).sum(),
        };
        match self.uniform_weight {
            Some(weight) => weight * words.map(|word| u64::from(word.count_ones())).sum::<u64>(),
            None => (first..).zip(words).map(word).sum(),
        }
    }

    fn weigh_list(&self, list: impl Iterator<Item = u32>) -> u64 {
        match self.uniform_weight {
            Some(weight) => weight * list.count() as u64,
            None => list.map(|at| self.weights[at as usize]).sum(),
        }
    }

    /// Returns the sum of the weights of the common members of two sets.
    pub fn weigh_common(&self, one: &Set, two: &Set) -> u64 {
        match (one, two) {
            (Set::List(one), Set::List(two)) => self.weigh_list(common(one, two)),
            (Set::List(list), Set::Bits(bits)) | (Set::Bits(bits), Set::List(list)) => {
                self.weigh_list(list.iter().copied().filter(|&at| bits.contains(at as usize)))
            }
            (Set::Bits(one), Set::Bits(two)) => {
                self.weigh_words(0, one.0.iter().zip(&two.0).map(|(one, two)| one & two))
            }
        }
    }

    /// Returns the sum of the weights of the members of `set` that `bits` lacks. If the sum is above `limit`, the result is
    /// any number above `limit`, because summing up may stop early.
    pub fn weigh_new(&self, set: &Set, bits: &Bits, limit: u64) -> u64 {
        match set {
            Set::List(list) => {
                let mut sum = 0;
                for &at in list.iter().filter(|&&at| !bits.contains(at as usize)) {
                    sum += self.weights[at as usize];
                    if sum > limit {
                        break;
                    }
                }
                sum
            }
            Set::Bits(set) => self.weigh_words(0, set.0.iter().zip(&bits.0).map(|(word, bits)| word & !bits)),
        }
    }
}

/// Returns the common members of two sorted lists.
fn common<'a>(mut one: &'a [u32], mut two: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    std::iter::from_fn(move || {
        while let (Some(&first), Some(&second)) = (one.first(), two.first()) {
            one = &one[usize::from(first <= second)..];
            two = &two[usize::from(second <= first)..];
            if first == second {
                return Some(first);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: usize = 200;

    /// Returns the set in both forms.
    fn forms(members: &[u32]) -> [Set; 2] {
        let mut bits = Bits::new(BOUND);
        members.iter().for_each(|&at| bits.insert(at as usize));
        [Set::List(members.into()), Set::Bits(Rc::new(bits))]
    }

    const LISTS: [&[u32]; 10] =
        [&[], &[0], &[0, 1], &[0, 1, 199], &[0, 70], &[0, 199], &[1], &[63, 64], &[64], &[5, 6, 7, 70, 100, 130, 199]];

    #[test]
    fn sets_of_both_forms_compare_as_lists_of_their_members() {
        for (one, two) in LISTS.iter().flat_map(|one| LISTS.iter().map(move |two| (*one, *two))) {
            for (first, second) in forms(one).iter().flat_map(|first| forms(two).map(|second| (first.clone(), second)))
            {
                assert_eq!(first.cmp_members(&second), one.cmp(two), "{one:?} {two:?}");
            }
        }
    }

    #[test]
    fn weights_and_unions_are_the_same_for_both_forms() {
        let mixed: Vec<u64> = (0..BOUND as u64).map(|at| if at < 64 { 3 } else { at }).collect();
        for weights in [mixed, vec![7; BOUND]] {
            let scale = Scale::new(weights.clone());
            let sum = |members: &[u32]| members.iter().map(|&at| weights[at as usize]).sum::<u64>();
            for (one, two) in LISTS.iter().flat_map(|one| LISTS.iter().map(move |two| (*one, *two))) {
                let common: Vec<u32> = one.iter().copied().filter(|at| two.contains(at)).collect();
                let mut all = [one, two].concat();
                all.sort_unstable();
                all.dedup();
                for (first, second) in
                    forms(one).iter().flat_map(|first| forms(two).map(|second| (first.clone(), second)))
                {
                    assert_eq!(scale.weigh(&first), sum(one));
                    assert_eq!(scale.weigh_common(&first, &second), sum(&common));
                    let union = first.union(&second, BOUND);
                    assert!(union.iter().eq(all.iter().map(|&at| at as usize)));
                    let mut bits = Bits::new(BOUND);
                    bits.unite(&second);
                    assert_eq!(scale.weigh_new(&first, &bits, u64::MAX), sum(one) - sum(&common));
                    let limit = (sum(one) - sum(&common)) / 2;
                    assert_eq!(scale.weigh_new(&first, &bits, limit) > limit, sum(one) - sum(&common) > limit);
                }
            }
        }
    }

    #[test]
    fn sets_with_many_members_use_bits() {
        let [few, _] = forms(&[1, 2, 3]);
        let [more, _] = forms(&[3, 4, 5, 6]);
        assert!(matches!(few.union(&few, BOUND), Set::List(_)));
        assert!(matches!(few.union(&more, BOUND), Set::List(_)));
        let [other, _] = forms(&[190]);
        assert!(matches!(few.union(&more, BOUND).union(&other, BOUND), Set::Bits(_)));
    }
}
