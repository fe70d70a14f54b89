//! The definitions of RFC 9162 § 2.1, written down as they stand there, and everything else held against them.

use proptest::prelude::*;

use super::*;

/// The largest power of two less than n.
fn k(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// MTH.
fn root(leaves: &[LeafHash]) -> NodeHash {
    match leaves {
        [] => empty_root(),
        [leaf] => NodeHash::from(*leaf),
        _ => {
            let (left, right) = leaves.split_at(k(leaves.len()));
            node_hash(root(left), root(right))
        }
    }
}

/// PATH.
fn path(m: usize, leaves: &[LeafHash]) -> Vec<NodeHash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(k(leaves.len()));
    let (mut below, beside) =
        if m < left.len() { (path(m, left), root(right)) } else { (path(m - left.len(), right), root(left)) };
    below.push(beside);
    below
}

/// SUBPROOF.
fn subproof(m: usize, leaves: &[LeafHash], whole: bool) -> Vec<NodeHash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(k(leaves.len()));
    let (mut below, beside) = if m <= left.len() {
        (subproof(m, left, whole), root(right))
    } else {
        (subproof(m - left.len(), right, false), root(left))
    };
    below.push(beside);
    below
}

fn check_inclusion(log: &Log, index: u64, size: u64) {
    let leaves = &log.leaves[..usize::try_from(size).unwrap()];
    let proof = log.inclusion(index, size);
    assert_eq!(proof, path(usize::try_from(index).unwrap(), leaves), "{index} in {size}");
    assert_eq!(verify_inclusion(log.leaf(index), index, size, &proof, log.root(size)), Ok(()), "{index} in {size}");
}

fn check_consistency(log: &Log, old: u64, new: u64) {
    let (from, to) = (usize::try_from(old).unwrap(), usize::try_from(new).unwrap());
    let proof = log.consistency(old, new);
    let defined = if old == 0 { Vec::new() } else { subproof(from, &log.leaves[..to], true) };
    assert_eq!(proof, defined, "{old} to {new}");
    let (old_root, new_root) = (log.root(old), log.root(new));
    assert_eq!(verify_consistency(old, new, &proof, old_root, new_root), Ok(()), "{old} to {new}");
}

#[test]
fn all_small_trees_are_as_defined() {
    let log = Log::counting(70);
    for size in 0..=70 {
        assert_eq!(log.root(size), root(&log.leaves[..usize::try_from(size).unwrap()]), "{size}");
        (0..size).for_each(|index| check_inclusion(&log, index, size));
        (0..=size).for_each(|old| check_consistency(&log, old, size));
    }
}

#[test]
fn every_node_stands_where_the_layout_says() {
    let log = Log::counting(70);
    assert!(log.records.iter().zip(0..).all(|(record, leaf)| record.len() == record_len(leaf)));
    for level in 0..7 {
        for (index, leaves) in log.leaves.chunks_exact(1 << level).enumerate() {
            let record = &log.records[(index + 1) * (1 << level) - 1];
            assert_eq!(record[32 * level..][..32], *root(leaves).as_bytes(), "node {index} of level {level}");
        }
    }
}

#[test]
fn a_stored_tree_is_gone_on_with_at_any_size() {
    let log = Log::counting(70);
    for size in 0..70_u64 {
        let mut tree = Appender::read(size, log.read(needed_for_append(size).unwrap())).unwrap();
        assert_eq!(tree.size(), size);
        for index in size..70 {
            assert_eq!(tree.append(log.leaf(index)), log.records[usize::try_from(index).unwrap()]);
        }
        assert_eq!(tree.root(), log.root(70), "from {size} on");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn larger_trees_are_as_defined(size in 1..5000_u64, places in prop::collection::vec(any::<u64>(), 2)) {
        let log = Log::counting(size);
        prop_assert_eq!(log.root(size), root(&log.leaves));
        for place in places {
            check_inclusion(&log, place % size, size);
            check_consistency(&log, place % (size + 1), size);
        }
    }
}
