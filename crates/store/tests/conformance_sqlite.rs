//! The conformance suite on SQLite files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why")]

#[cfg(test)]
mod conformance;

use std::path::PathBuf;

use conformance::Backend;
use runstone_core::store::Store;
use runstone_store::{Location, ProjectIdentity};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

struct File {
    folder: TempDir,
}

impl File {
    fn fresh() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("record.db")
    }
}

impl Backend for File {
    fn open(&self, project: &ProjectIdentity) -> Box<dyn Store> {
        runstone_store::connect(&Location::Sqlite(self.path()), project).unwrap()
    }

    fn dump(&self) -> Vec<String> {
        let connection = Connection::open(self.path()).unwrap();
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let mut lines = Vec::new();
        for table in tables {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let values: Vec<Value> = (0..columns).map(|at| row.get(at).unwrap()).collect();
                lines.push(format!("{table} {values:?}"));
            }
        }
        lines.sort_unstable();
        lines
    }

    fn damage(&self, sql: &str) -> bool {
        let connection = Connection::open(self.path()).unwrap();
        let triggers: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        for trigger in triggers {
            connection.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;").unwrap();
        connection.execute_batch(sql).unwrap();
        true
    }
}

conformance!(File::fresh);
