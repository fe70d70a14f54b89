//! The cryptography of a transparency log: a tree that only grows, signed notes about it, signed statements.
//!
//! [`tree`] says what a list of entries hashes to and proves that an entry is in it, or that one list is the beginning
//! of another. [`checkpoint`] is what a log says of itself, signed as a [`note`]. [`dsse`] signs statements for
//! tools elsewhere. Notes and statements are signed with the Ed25519 keys of [`key`].
//!
//! Not here: what an entry is, where hashes, notes and keys are kept, and what to do when something does not fit.

pub mod checkpoint;
pub mod dsse;
pub mod key;
pub mod note;
pub mod tree;
