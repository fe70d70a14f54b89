//! A database of a test's own, and a connection past the store.

use std::sync::atomic::{AtomicU32, Ordering};

use runstone_core::store::Store;
use runstone_store::{Location, ProjectIdentity};
use sqlx::postgres::{PgCopyIn, PgRow};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::runtime::Runtime;

use super::Server;

/// A connection that says whatever a test wants to.
pub(crate) struct Admin {
    runtime: Runtime,
    connection: PgConnection,
}

impl Admin {
    pub(crate) fn connect(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connection = runtime.block_on(PgConnection::connect(url)).expect("the server answers");
        Self { runtime, connection }
    }

    pub(crate) fn execute(&mut self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) fn try_execute(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        self.runtime.block_on(self.connection.execute(script)).map(drop)
    }

    pub(crate) fn rows(&mut self, sql: &str) -> Vec<PgRow> {
        let query = sqlx::query(AssertSqlSafe(sql));
        self.runtime.block_on(query.fetch_all(&mut self.connection)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Rows that go in as text, many at a time.
    pub(crate) fn copy(&mut self, sql: &str) -> CopyIn<'_> {
        let Self { runtime, connection } = self;
        let copy = runtime.block_on(connection.copy_in_raw(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        CopyIn { runtime, copy }
    }

    /// The first column of every row, which is text.
    pub(crate) fn lines(&mut self, sql: &str) -> Vec<String> {
        self.rows(sql).iter().map(|row| row.get(0)).collect()
    }
}

/// Rows on their way.
pub(crate) struct CopyIn<'a> {
    runtime: &'a Runtime,
    copy: PgCopyIn<&'a mut PgConnection>,
}

impl CopyIn<'_> {
    /// Whole lines, or parts of them.
    pub(crate) fn send(&mut self, lines: String) {
        self.runtime.block_on(self.copy.send(lines.into_bytes())).expect("the server takes rows");
    }

    /// They count from here on.
    pub(crate) fn finish(self) {
        self.runtime.block_on(self.copy.finish()).expect("the server took the rows");
    }
}

/// A database. Dropping it removes it.
pub(crate) struct Database<'s> {
    pub(crate) server: &'s Server,
    pub(crate) name: String,
}

impl<'s> Database<'s> {
    /// Has the newest schema.
    pub(crate) fn new(server: &'s Server) -> Self {
        Self::copy(server, "template")
    }

    /// Has nothing at all.
    pub(crate) fn empty(server: &'s Server) -> Self {
        Self::copy(server, "template0")
    }

    fn copy(server: &'s Server, template: &str) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("t_{}_{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        server.admin("postgres").execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    pub(crate) fn admin(&self) -> Admin {
        self.server.admin(&self.name)
    }

    /// A connection to it, for a project.
    pub(crate) fn connect(&self, project: &ProjectIdentity) -> Box<dyn Store> {
        runstone_store::connect(&Location::Postgres(self.url()), project).expect("a connection")
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        self.server.admin("postgres").execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}
