//! What is known of lineage beyond the rows of a run: where tags lead, what an attempt states for the log, and what others
//! assert.
//!
//! Values and rules only. Walks through the graph are the store's, questions to it are asked elsewhere.

pub mod asserted;
pub mod statement;
pub mod store;
pub mod tag;
