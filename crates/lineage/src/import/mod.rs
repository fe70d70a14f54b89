//! What other systems say about lineage, taken in as theirs: it is put on record as asserted and never mixes with what we
//! know ourselves.

pub mod openlineage;
mod pieces;
