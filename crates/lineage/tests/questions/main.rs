//! Questions about lineage, asked of a record that is really there: a file of SQLite and a folder of objects.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why")]

mod archive;
mod around;
mod differences;
mod record;
mod search;
mod why;
