//! The cryptography of a transparency log: a tree that only grows, and signed notes about it.
//!
//! [`tree`] says what a list of entries hashes to and proves that an entry is in it, or that one list is the beginning
//! of another. [`checkpoint`] is what a log says of itself, signed as a [`note`] with an Ed25519 [`key`].
//!
//! Not here: what an entry is, where hashes, notes and keys are kept, and what to do when something does not fit.

pub mod checkpoint;
pub mod key;
pub mod note;
pub mod tree;
