//! Real servers for tests: one that every test of a run shares, private ones for tests that stop it, and databases on them.
//!
//! A server listens on a socket in a folder of its own under the system's temporary folder, never on a port, and writes
//! without fsync. Started by root, it runs as an unprivileged user, because PostgreSQL refuses anything else. It ends when
//! the last test that uses it does, however that ends: see `server`.

// Each program that uses this module uses another part of it.
#![allow(dead_code, unused_imports, clippy::allow_attributes, reason = "what is unused differs")]

pub(crate) mod database;
pub(crate) mod install;
pub(crate) mod server;

pub(crate) use database::Database;
pub(crate) use install::skipped;
pub(crate) use server::{Durability, Server};
