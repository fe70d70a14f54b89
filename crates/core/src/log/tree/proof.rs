//! Making proofs from stored hashes. Source: RFC 9162 § 2.1.3.1 and § 2.1.4.1.
//!
//! A proof is a list of spans of leaves, whose hashes are sent. The spans depend on numbers only, so the records they
//! need are known before anything is read.

use super::layout::{Records, Span, check_size, leaves};
use super::{NodeHash, ReadError, SizeError};

/// The leaves whose records [`inclusion_proof`] needs, in order.
///
/// # Errors
/// [`SizeError`] where the leaf is not in the tree, or no log is that large.
pub fn needed_for_inclusion(index: u64, size: u64) -> Result<Vec<u64>, SizeError> {
    inclusion(index, size).map(|spans| needed(&spans))
}

/// The leaves whose records [`consistency_proof`] needs, in order.
///
/// # Errors
/// [`SizeError`] where the old tree is larger, or no log is that large.
pub fn needed_for_consistency(old: u64, new: u64) -> Result<Vec<u64>, SizeError> {
    consistency(old, new).map(|spans| needed(&spans))
}

/// Proves that leaf `index` is in the tree of the first `size` leaves: the hashes beside its way to the root, from the
/// leaf up. `read` is called at most once, with the leaves that [`needed_for_inclusion`] names, and returns their
/// records in that order.
///
/// # Errors
/// [`ReadError`] where `read` fails, its records do not have the right form, or there is no such leaf.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    read: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, E>,
) -> Result<Vec<NodeHash>, ReadError<E>> {
    prove(&inclusion(index, size)?, read)
}

/// Proves that the first `old` of `new` leaves are the tree of `old` leaves, that is, that nothing was changed or taken
/// away. The proof is empty for equal sizes and for an old tree without leaves. `read` is called at most once, with
/// the leaves that [`needed_for_consistency`] names, and returns their records in that order.
///
/// # Errors
/// [`ReadError`] where `read` fails, its records do not have the right form, or the old tree is larger.
pub fn consistency_proof<E>(
    old: u64,
    new: u64,
    read: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, E>,
) -> Result<Vec<NodeHash>, ReadError<E>> {
    prove(&consistency(old, new)?, read)
}

/// PATH of RFC 9162 § 2.1.3.1: down from the root, the side that the leaf is not on.
fn inclusion(index: u64, size: u64) -> Result<Vec<Span>, SizeError> {
    check_size(size)?;
    if index >= size {
        return Err(SizeError::NoSuchLeaf { index, size });
    }
    let mut spans = Vec::new();
    let mut rest = Span { from: 0, to: size };
    while rest.to - rest.from > 1 {
        let middle = rest.from + rest.left_len();
        if index < middle {
            spans.push(Span { from: middle, ..rest });
            rest.to = middle;
        } else {
            spans.push(Span { to: middle, ..rest });
            rest.from = middle;
        }
    }
    spans.reverse();
    Ok(spans)
}

/// SUBPROOF of RFC 9162 § 2.1.4.1: down from the root of the new tree to the last complete subtree of the old one.
fn consistency(old: u64, new: u64) -> Result<Vec<Span>, SizeError> {
    check_size(new)?;
    if old > new {
        return Err(SizeError::Shrinks { old, new });
    }
    let mut spans = Vec::new();
    if old == 0 {
        return Ok(spans);
    }
    let mut rest = Span { from: 0, to: new };
    while rest.to != old {
        let middle = rest.from + rest.left_len();
        if old <= middle {
            spans.push(Span { from: middle, ..rest });
            rest.to = middle;
        } else {
            spans.push(Span { to: middle, ..rest });
            rest.from = middle;
        }
    }
    // Whoever verifies knows the hash of the whole old tree, but not of a part of it.
    if rest.from > 0 {
        spans.push(rest);
    }
    spans.reverse();
    Ok(spans)
}

fn needed(spans: &[Span]) -> Vec<u64> {
    leaves(spans.iter().flat_map(|span| span.nodes()))
}

fn prove<E>(
    spans: &[Span],
    read: impl FnOnce(&[u64]) -> Result<Vec<Vec<u8>>, E>,
) -> Result<Vec<NodeHash>, ReadError<E>> {
    let records = Records::read(spans.iter().flat_map(|span| span.nodes()), read)?;
    Ok(spans.iter().map(|&span| records.span(span)).collect())
}
