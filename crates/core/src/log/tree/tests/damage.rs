//! What must be refused: changed bits, cut and extended proofs, other numbers, damaged records, numbers without sense.

use proptest::prelude::*;

use super::*;

/// All hashes that differ in one bit.
fn flipped(hash: NodeHash) -> impl Iterator<Item = NodeHash> {
    (0..256).map(move |bit| {
        let mut bytes = *hash.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        NodeHash::from_bytes(bytes)
    })
}

/// The proof with each of its bits flipped, one at a time.
fn flipped_proofs(proof: &[NodeHash]) -> impl Iterator<Item = Vec<NodeHash>> {
    (0..proof.len()).flat_map(move |at| {
        flipped(proof[at]).map(move |hash| {
            let mut changed = proof.to_vec();
            changed[at] = hash;
            changed
        })
    })
}

/// The proof without its first or last hash, with another one before or behind it, and with two hashes swapped.
fn reshaped(proof: &[NodeHash]) -> Vec<Vec<NodeHash>> {
    let other = [empty_root()];
    let mut all = vec![[proof, &other].concat(), [&other, proof].concat()];
    if let ([_, rest @ ..], [start @ .., _]) = (proof, proof) {
        all.extend([rest.to_vec(), start.to_vec()]);
    }
    for at in 1..proof.len() {
        let mut swapped = proof.to_vec();
        swapped.swap(at - 1, at);
        all.push(swapped);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn inclusion_is_refused_when_one_bit_differs(size in 1..150_u64, place in any::<u64>()) {
        let log = Log::counting(size);
        let (index, root) = (place % size, log.root(size));
        let (leaf, proof) = (log.leaf(index), log.inclusion(index, size));
        let holds = |leaf, proof: &[NodeHash], root| verify_inclusion(leaf, index, size, proof, root).is_ok();
        prop_assert!(holds(leaf, &proof, root));
        prop_assert!(flipped(root).all(|root| !holds(leaf, &proof, root)));
        prop_assert!(flipped(leaf.into()).all(|leaf| !holds(LeafHash::from_bytes(*leaf.as_bytes()), &proof, root)));
        prop_assert!(flipped_proofs(&proof).all(|proof| !holds(leaf, &proof, root)));
    }

    #[test]
    fn consistency_is_refused_when_one_bit_differs(new in 2..150_u64, place in any::<u64>()) {
        let log = Log::counting(new);
        let old = 1 + place % (new - 1);
        let (old_root, new_root, proof) = (log.root(old), log.root(new), log.consistency(old, new));
        let holds = |proof: &[NodeHash], from, to| verify_consistency(old, new, proof, from, to).is_ok();
        prop_assert!(holds(&proof, old_root, new_root));
        prop_assert!(flipped(old_root).all(|root| !holds(&proof, root, new_root)));
        prop_assert!(flipped(new_root).all(|root| !holds(&proof, old_root, root)));
        prop_assert!(flipped_proofs(&proof).all(|proof| !holds(&proof, old_root, new_root)));
    }

    /// Whatever comes, verifying ends and does not panic.
    #[test]
    fn any_numbers_can_be_verified(a in any::<u64>(), b in any::<u64>(), hashes in 0..130_usize) {
        let proof = vec![empty_root(); hashes];
        prop_assert!(verify_inclusion(leaf_hash(b""), a, b, &proof, empty_root()).is_err());
        let other = node_hash(empty_root(), empty_root());
        prop_assert!(verify_consistency(a.max(1), b, &proof, empty_root(), other).is_err());
    }
}

#[test]
fn proofs_fit_one_leaf_of_one_tree() {
    let log = Log::counting(24);
    for size in 1..=24 {
        for index in 0..size {
            let (leaf, proof, root) = (log.leaf(index), log.inclusion(index, size), log.root(size));
            for other in (0..size + 2).filter(|&other| other != index) {
                assert!(verify_inclusion(leaf, other, size, &proof, root).is_err(), "{index} as {other} in {size}");
            }
            for other in (1..=24).filter(|&other| other != size) {
                let result = verify_inclusion(leaf, index, other, &proof, log.root(other));
                assert!(result.is_err(), "{index} in {size} as in {other}");
            }
            for proof in reshaped(&proof) {
                assert!(verify_inclusion(leaf, index, size, &proof, root).is_err(), "{index} in {size}");
            }
        }
    }
}

#[test]
fn proofs_fit_one_pair_of_trees() {
    let log = Log::counting(24);
    for new in 0..=24 {
        for old in 0..=new {
            let (proof, old_root, new_root) = (log.consistency(old, new), log.root(old), log.root(new));
            for other in (0..=26).filter(|&other| other != old) {
                // The empty tree is the beginning of every tree, but its root is another.
                assert!(
                    verify_consistency(other, new, &proof, old_root, new_root).is_err(),
                    "{old} as {other} to {new}"
                );
            }
            for other in (1..=24).filter(|&other| other != new && old > 0) {
                let result = verify_consistency(old, other, &proof, old_root, log.root(other));
                assert!(result.is_err(), "{old} to {new} as to {other}");
            }
            for proof in reshaped(&proof) {
                assert!(verify_consistency(old, new, &proof, old_root, new_root).is_err(), "{old} to {new}");
            }
        }
    }
}

#[test]
fn errors_say_what_does_not_fit() {
    let log = Log::counting(7);
    let (leaf, root, proof) = (log.leaf(2), log.root(7), log.inclusion(2, 7));
    let verify = |index, size, proof: &[NodeHash], root| verify_inclusion(leaf, index, size, proof, root).unwrap_err();
    assert_eq!(verify(7, 7, &proof, root), SizeError::NoSuchLeaf { index: 7, size: 7 }.into());
    assert_eq!(verify(2, 7, &proof[1..], root), VerifyError::Length { found: 2, long: false });
    assert_eq!(verify(2, 4, &proof, root), VerifyError::Length { found: 3, long: true });
    assert_eq!(verify(2, 7, &proof, empty_root()), VerifyError::Root { stated: empty_root(), computed: root });

    let (old, proof, wrong) = (log.root(3), log.consistency(3, 7), empty_root());
    let verify = |from, to, proof: &[NodeHash], old, new| verify_consistency(from, to, proof, old, new).unwrap_err();
    assert_eq!(verify(8, 7, &proof, old, root), SizeError::Shrinks { old: 8, new: 7 }.into());
    assert_eq!(verify(3, 7, &[], old, root), VerifyError::Length { found: 0, long: false });
    assert_eq!(verify(3, 7, &proof, wrong, root), VerifyError::OldRoot { stated: wrong, computed: old });
    assert_eq!(verify(3, 7, &proof, old, wrong), VerifyError::NewRoot { stated: wrong, computed: root });
    assert_eq!(verify(7, 7, &[], old, root), VerifyError::Split { size: 7, old, new: root });
    assert_eq!(verify(0, 7, &[], old, root), VerifyError::OldRoot { stated: old, computed: empty_root() });
    let message = verify(3, 7, &proof[1..], old, root).to_string();
    assert!(message.starts_with("the proof has 3 hashes, which is too few"), "{message}");
}

#[test]
fn damaged_records_are_noticed() {
    let log = Log::counting(6);
    let with = |records: Vec<Vec<u8>>| root_at(6, |_| Ok::<_, &str>(records)).unwrap_err();
    assert_eq!(needed_for_append(6), Ok(vec![3, 5]));
    assert_eq!(with(vec![log.records[3].clone()]), ReadError::Count { wanted: 2, found: 1 });
    let short = vec![log.records[3][..64].to_vec(), log.records[5].clone()];
    assert_eq!(with(short), ReadError::Record { leaf: 3, wanted: 96, found: 64 });
    assert_eq!(root_at(6, |_| Err("gone")), Err(ReadError::Read("gone")));
    let mut other = log.records[5].clone();
    other[40] ^= 1;
    let root = root_at(6, |_| Ok::<_, &str>(vec![log.records[3].clone(), other])).unwrap();
    assert_ne!(root, log.root(6), "a changed hash is no error, and leads to another root");
}

#[test]
fn questions_without_sense_read_nothing() {
    let never = |_: &[u64]| -> Result<Vec<Vec<u8>>, ()> { panic!("nothing is to be read") };
    let too_large = SizeError::TooLarge { size: MAX_SIZE + 1 };
    assert_eq!(inclusion_proof(3, 3, never), Err(SizeError::NoSuchLeaf { index: 3, size: 3 }.into()));
    assert_eq!(consistency_proof(4, 3, never), Err(SizeError::Shrinks { old: 4, new: 3 }.into()));
    assert_eq!(root_at(MAX_SIZE + 1, never), Err(too_large.clone().into()));
    assert_eq!(needed_for_inclusion(0, MAX_SIZE + 1), Err(too_large.clone()));
    assert_eq!(needed_for_consistency(1, MAX_SIZE + 1), Err(too_large));
    // These make sense and need nothing.
    assert_eq!(root_at(0, never), Ok(empty_root()));
    assert_eq!(inclusion_proof(0, 1, never), Ok(Vec::new()));
    assert_eq!(consistency_proof(0, 9, never), Ok(Vec::new()));
    assert_eq!(consistency_proof(9, 9, never), Ok(Vec::new()));
}

#[test]
fn the_largest_log_can_be_asked_about() {
    assert_eq!(needed_for_append(MAX_SIZE).unwrap().len(), 63);
    assert_eq!(needed_for_inclusion(MAX_SIZE - 1, MAX_SIZE).unwrap().len(), 62);
    assert_eq!(needed_for_inclusion(0, MAX_SIZE).unwrap().last(), Some(&(MAX_SIZE - 1)));
    assert!(needed_for_consistency(MAX_SIZE / 3, MAX_SIZE).unwrap().len() < 126);
}
