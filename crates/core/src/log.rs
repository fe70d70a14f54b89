//! The cryptography of a transparency log: a tree that only grows.
//!
//! [`tree`] says what a list of entries hashes to and proves that an entry is in it, or that one list is the beginning
//! of another.
//!
//! Not here: what an entry is, where hashes are kept, and what to do when something does not fit.

pub mod tree;
