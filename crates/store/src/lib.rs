//! Where Runstone remembers: the only crate with SQL in it.
//!
//! [`connect`] gives a [`Store`] for one project, on an embedded SQLite file or on a Postgres server. What a store
//! promises is written down in [`runstone_core::store`]; the suite in `tests/conformance` holds both to it, down to which
//! change is stale when. Nothing here decides what is to run.

mod declare;
mod event;
mod fold;
mod location;
mod met;
mod migrate;
pub mod postgres;
mod prefix;
mod rules;
mod service;
mod shared;
pub mod sqlite;
mod template;

use runstone_core::store::{Result, Store};
use uuid::Uuid;

pub use location::{Location, ParseLocationError};
pub use rules::InvalidChange;
pub use shared::Shared;

/// Which project a store is to remember. Several projects may share one database and never see each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectIdentity {
    /// What tells projects apart.
    pub uuid: Uuid,
    /// What people call it; not unique, and brought up to date at each connection.
    pub name: String,
}

/// Opens the record of a project. Database, tables and the project's row are made where they do not exist, and an
/// older schema is brought up to date.
///
/// # Errors
/// [`StoreError::NewerSchema`] where a newer Runstone wrote the database; [`StoreError::Damaged`] where it is none of
/// ours or broken; [`StoreError::Database`] where it cannot be reached.
///
/// [`StoreError::NewerSchema`]: runstone_core::store::StoreError::NewerSchema
/// [`StoreError::Damaged`]: runstone_core::store::StoreError::Damaged
/// [`StoreError::Database`]: runstone_core::store::StoreError::Database
pub fn connect(location: &Location, project: &ProjectIdentity) -> Result<Box<dyn Store>> {
    match location {
        Location::Sqlite(path) => sqlite::connect(path, project),
        Location::Postgres(url) => postgres::connect(url, project),
    }
}
