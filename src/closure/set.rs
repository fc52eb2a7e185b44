//! Sets of node indices, and the weights of their members.
//!
//! A set of few members is a list, one of many has a bit for every index: each is kept in the form that takes less memory.

use std::{cmp::Ordering, rc::Rc};

/// A list takes 32 bits a member, bits take one for every index.
const LIST: usize = 32;

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

    /// Sets the words from number `first` on. Words past the bound are ignored.
    pub fn set_words(&mut self, first: usize, words: &[u64]) {
        self.0[first..].iter_mut().zip(words).for_each(|(word, new)| *word = *new);
    }

    /// Adds everything in `set`.
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

/// The members of word number `at`.
pub(super) fn members(at: usize, mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(at * 64 + bit)
    })
}

impl Set {
    /// Whether `count` of the indices below `bound` are a list.
    pub fn is_list(count: usize, bound: usize) -> bool {
        count.saturating_mul(LIST) <= bound
    }

    /// The members in order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::List(list) => Box::new(list.iter().map(|&at| at as usize)),
            Self::Bits(bits) => Box::new(bits.members()),
        }
    }

    pub fn empty() -> Self {
        Self::List(Rc::default())
    }

    /// Everything in any of `sets`; indices are below `bound`.
    pub fn union_of<'a>(sets: impl Iterator<Item = &'a Self>, bound: usize) -> Self {
        let mut bits = Bits::new(bound);
        sets.for_each(|set| bits.unite(set));
        let members: Vec<u32> = bits.members().map(|at| at as u32).collect();
        if Self::is_list(members.len(), bound) { Self::List(members.into()) } else { Self::Bits(Rc::new(bits)) }
    }

    /// Everything in both; indices are below `bound`.
    pub fn union(&self, other: &Self, bound: usize) -> Self {
        match (self, other) {
            (Self::List(one), Self::List(two)) => {
                let list = merged(one, two);
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

    /// The order of the lists of members.
    pub fn cmp_members(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::List(one), Self::List(two)) => one.cmp(two),
            _ => self.iter().cmp(other.iter()),
        }
    }
}

/// Two sorted lists as one, without duplicates.
fn merged(mut one: &[u32], mut two: &[u32]) -> Vec<u32> {
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

/// What each index weighs. Words of 64 indices that weigh the same are counted at once.
#[derive(Debug)]
pub(super) struct Scale {
    weights: Vec<u64>,
    /// What every index of a word weighs, if they weigh the same.
    words: Vec<Option<u64>>,
    /// What every index weighs, if they weigh the same.
    all: Option<u64>,
}

impl Scale {
    pub fn new(weights: Vec<u64>) -> Self {
        let uniform = |weights: &[u64]| weights.iter().all(|weight| *weight == weights[0]).then(|| weights[0]);
        let words = weights.chunks(64).map(uniform).collect();
        let all = if weights.is_empty() { Some(0) } else { uniform(&weights) };
        Self { weights, words, all }
    }

    /// The bound of the indices.
    pub fn bound(&self) -> usize {
        self.weights.len()
    }

    /// The weight of one index.
    pub fn weight(&self, at: usize) -> u64 {
        self.weights[at]
    }

    /// The sum of the weights of a set's members.
    pub fn weigh(&self, set: &Set) -> u64 {
        match set {
            Set::List(list) => self.weigh_list(list.iter().copied()),
            Set::Bits(bits) => self.weigh_words(0, bits.0.iter().copied()),
        }
    }

    /// The sum over the members of `words`, of which the first is word number `first`. Words past the bound are ignored.
    pub fn weigh_words(&self, first: usize, words: impl Iterator<Item = u64>) -> u64 {
        let word = |(at, word): (usize, u64)| match self.words.get(at) {
            None => 0,
            Some(Some(weight)) => weight * u64::from(word.count_ones()),
            Some(None) => members(at, word).map(|member| self.weights[member]).sum(),
        };
        match self.all {
            Some(weight) => weight * words.map(|word| u64::from(word.count_ones())).sum::<u64>(),
            None => (first..).zip(words).map(word).sum(),
        }
    }

    fn weigh_list(&self, list: impl Iterator<Item = u32>) -> u64 {
        match self.all {
            Some(weight) => weight * list.count() as u64,
            None => list.map(|at| self.weights[at as usize]).sum(),
        }
    }

    /// The sum over what two sets share.
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

    /// The sum over what `set` has and `bits` lacks, or any number above `limit` if it is above.
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

/// What two sorted lists share.
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

    /// The set in both forms.
    fn forms(members: &[u32]) -> [Set; 2] {
        let mut bits = Bits::new(BOUND);
        members.iter().for_each(|&at| bits.insert(at as usize));
        [Set::List(members.into()), Set::Bits(Rc::new(bits))]
    }

    const LISTS: [&[u32]; 10] =
        [&[], &[0], &[0, 1], &[0, 1, 199], &[0, 70], &[0, 199], &[1], &[63, 64], &[64], &[5, 6, 7, 70, 100, 130, 199]];

    #[test]
    fn both_forms_of_a_set_are_ordered_as_the_lists_of_their_members() {
        for (one, two) in LISTS.iter().flat_map(|one| LISTS.iter().map(move |two| (*one, *two))) {
            for (first, second) in forms(one).iter().flat_map(|first| forms(two).map(|second| (first.clone(), second)))
            {
                assert_eq!(first.cmp_members(&second), one.cmp(two), "{one:?} {two:?}");
            }
        }
    }

    #[test]
    fn weights_and_unions_are_the_same_for_both_forms() {
        let each: Vec<u64> = (0..BOUND as u64).map(|at| if at < 64 { 3 } else { at }).collect();
        for weights in [each, vec![7; BOUND]] {
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
    fn a_set_of_many_members_has_bits() {
        let [few, _] = forms(&[1, 2, 3]);
        let [more, _] = forms(&[3, 4, 5, 6]);
        assert!(matches!(few.union(&few, BOUND), Set::List(_)));
        assert!(matches!(few.union(&more, BOUND), Set::List(_)));
        let [other, _] = forms(&[190]);
        assert!(matches!(few.union(&more, BOUND).union(&other, BOUND), Set::Bits(_)));
    }
}
