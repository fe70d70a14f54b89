//! Which ids are part of the index, and at which position: the rank among them, found by one look into a bitmap.
//!
//! Ids of a record come from one growing sequence and are given out without large gaps, so that two bits for each cost less
//! than a table of those that are there, and answer in constant time for those that are not.

use runstone_core::record::NodeId;

/// Ids within one word of the bitmap.
const WORD: u32 = u64::BITS;

/// Ids in growing order. Position 0 is the smallest.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// What ids are counted from: the first one.
    first: i64,
    /// By position: how far after the first.
    ids: Vec<u32>,
    words: Vec<Word>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Word {
    bits: u64,
    /// How many ids stand in the words before this one.
    before: u32,
}

impl Ids {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<u32>() + self.words.capacity() * size_of::<Word>()
    }

    /// The id at a position that is there.
    pub(super) fn at(&self, position: u32) -> NodeId {
        NodeId(self.first + i64::from(self.ids[position as usize]))
    }

    /// The position of an id.
    pub(super) fn position(&self, id: NodeId) -> Option<u32> {
        let offset = self.offset(id)?;
        let word = self.words.get((offset / WORD) as usize)?;
        let bit = 1_u64 << (offset % WORD);
        (word.bits & bit != 0).then(|| word.before + (word.bits & (bit - 1)).count_ones())
    }

    fn offset(&self, id: NodeId) -> Option<u32> {
        id.0.checked_sub(self.first).and_then(|offset| u32::try_from(offset).ok())
    }

    /// Appends an id and gives its position; none where it is not larger than the last one, or too far after the first.
    pub(super) fn push(&mut self, id: NodeId) -> Option<u32> {
        if self.ids.is_empty() {
            self.first = id.0;
        }
        let offset = self.offset(id)?;
        if self.ids.last().is_some_and(|last| *last >= offset) {
            return None;
        }
        let position = u32::try_from(self.ids.len()).ok()?;
        let word = (offset / WORD) as usize;
        if word >= self.words.len() {
            let more = word + 1 - self.words.len();
            super::reserve(&mut self.words, more);
            self.words.resize(word + 1, Word { bits: 0, before: position });
        }
        self.words[word].bits |= 1 << (offset % WORD);
        super::reserve(&mut self.ids, 1);
        self.ids.push(offset);
        Some(position)
    }

    /// Forgets everything from a position on.
    pub(super) fn truncate(&mut self, len: usize) {
        for offset in self.ids.drain(len.min(self.ids.len())..) {
            self.words[(offset / WORD) as usize].bits &= !(1 << (offset % WORD));
        }
        let words = self.ids.last().map_or(0, |last| (last / WORD) as usize + 1);
        self.words.truncate(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_at_their_rank_and_others_are_not() {
        let given = [5, 6, 68, 69, 70, 1_000, 1_001, 9_999];
        let mut ids = Ids::default();
        assert_eq!(ids.position(NodeId(0)), None);
        for (rank, id) in (0..).zip(given) {
            assert_eq!(ids.push(NodeId(id)), Some(rank));
            assert_eq!(ids.push(NodeId(id)), None, "twice");
            assert_eq!(ids.push(NodeId(4)), None, "before the first");
        }
        assert_eq!(ids.push(NodeId(5 + (1 << 32))), None, "further than positions go");
        let check = |ids: &Ids, len: usize| {
            for id in -3..10_100 {
                let rank = given[..len].iter().position(|given| *given == id);
                assert_eq!(ids.position(NodeId(id)).map(|at| at as usize), rank, "{id}");
            }
            assert!((0..).zip(&given[..len]).all(|(rank, id)| ids.at(rank).0 == *id));
        };
        check(&ids, given.len());
        for len in [7, 4, 1, 0] {
            ids.truncate(len);
            check(&ids, len);
        }
        assert_eq!(ids.push(NodeId(i64::MAX)), Some(0), "it begins anew");
        assert_eq!(ids.position(NodeId(i64::MIN)), None);
    }
}
