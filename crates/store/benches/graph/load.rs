//! Puts the rows of a graph into a database past every guard: neither triggers nor foreign keys look, and nothing waits for
//! the disk.

use std::fmt::Write as _;
use std::path::Path;

use runstone_core::time::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::questions;
use super::rows::{Cell, LOGGED, TABLES, Table};
use crate::postgres::database::Admin;

/// Bytes sent to a server at a time.
const PIECE: usize = 1 << 20;

fn tables(logged: bool) -> impl Iterator<Item = &'static Table> {
    TABLES.iter().chain(if logged { LOGGED } else { &[] })
}

/// Into a file that has the schema and one project.
pub(crate) fn sqlite(path: &Path, edges: usize, logged: bool) {
    let mut connection = Connection::open(path).expect("a file");
    connection
        .execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -500000;",
        )
        .expect("settings");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).expect("triggers can be turned off");
    let project: i64 = connection.query_row("SELECT id FROM project", [], |row| row.get(0)).expect("a project");
    let tx = connection.transaction().expect("a transaction");
    let indexes: Vec<(String, String)> = tx
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        .and_then(|mut names| names.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .expect("names");
    for (name, _) in &indexes {
        tx.execute_batch(&format!("DROP INDEX {name}")).expect("an index");
    }
    for table in tables(logged) {
        let marks = vec!["?"; table.columns.split(',').count()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", table.name, table.columns);
        let mut insert = tx.prepare(&sql).expect("a statement");
        table.rows(edges, project, &mut |row| {
            insert.execute(params_from_iter(row.into_iter().map(value))).expect("a row");
        });
    }
    for (_, sql) in &indexes {
        tx.execute_batch(sql).expect("an index");
    }
    tx.execute_batch("UPDATE project SET runs = (SELECT max(number) FROM run)").expect("the number of runs");
    tx.execute("UPDATE counter SET node = ?1", [questions(edges).last]).expect("the counter");
    if logged {
        tx.execute_batch("INSERT INTO unlogged SELECT project_id, id FROM attempt").expect("what is to be logged");
    }
    tx.commit().expect("a commit");
    connection.execute_batch("PRAGMA journal_mode = WAL").expect("as it was");
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Int(value) | Cell::Time(value) => Value::Integer(value),
        Cell::Float(value) => Value::Real(value),
        Cell::Bool(value) => Value::Integer(value.into()),
        Cell::Text(value) => Value::Text(value),
        Cell::Bytes(value) => Value::Blob(value),
        Cell::Uuid(value) => Value::Blob(value.as_bytes().to_vec()),
    }
}

/// Into a database that has the schema and one project.
pub(crate) fn postgres(admin: &mut Admin, edges: usize, logged: bool) {
    admin.execute("SET search_path = runstone; SET session_replication_role = replica; SET synchronous_commit = off");
    admin.execute("ALTER TABLE run ALTER batch SET DEFAULT '00000000-0000-0000-0000-000000000000'");
    admin.execute("SET maintenance_work_mem = '256MB'");
    let project = admin.lines("SELECT id::text FROM project").remove(0).parse().expect("a project");
    let indexes = admin.lines(
        "SELECT indexdef FROM pg_indexes i WHERE schemaname = 'runstone' AND NOT EXISTS \
         (SELECT FROM pg_constraint c WHERE c.conname = i.indexname AND c.connamespace = 'runstone'::regnamespace) \
         AND tablename IN ('run', 'attempt', 'version', 'materialization', 'consumed')",
    );
    for index in &indexes {
        let name = index.split(' ').skip_while(|word| *word != "INDEX").nth(1).expect("an index has a name");
        admin.execute(&format!("DROP INDEX {name}"));
    }
    for table in tables(logged) {
        let mut copy = admin.copy(&format!("COPY {} ({}) FROM STDIN", table.name, table.columns));
        let mut piece = String::with_capacity(2 * PIECE);
        table.rows(edges, project, &mut |row| {
            for (at, cell) in row.into_iter().enumerate() {
                if at > 0 {
                    piece.push('\t');
                }
                spell(&mut piece, &cell);
            }
            piece.push('\n');
            if piece.len() > PIECE {
                copy.send(std::mem::take(&mut piece));
            }
        });
        copy.send(piece);
        copy.finish();
    }
    for index in &indexes {
        admin.execute(index);
    }
    admin.execute("UPDATE project SET runs = (SELECT max(number) FROM run)");
    admin.execute("SELECT setval(pg_get_serial_sequence('dataset', 'id'), max(id)) FROM dataset");
    admin.execute(&format!("SELECT setval('node_id', {})", questions(edges).last));
    if logged {
        admin.execute("INSERT INTO unlogged SELECT project_id, id FROM attempt");
    }
    for table in tables(logged) {
        // Something else on the server may have begun before all of it was there; what it could miss is not visible to all.
        let seen =
            format!("SELECT (relallvisible >= relpages)::text FROM pg_class WHERE oid = '{}'::regclass", table.name);
        while admin.lines(&seen) != ["true"] {
            admin.execute(&format!("VACUUM (ANALYZE) {}", table.name));
        }
    }
    admin.execute("CHECKPOINT");
}

/// None of our texts has anything in it that would have to be escaped.
fn spell(line: &mut String, cell: &Cell) {
    match cell {
        Cell::Int(value) => write!(line, "{value}"),
        Cell::Float(value) => write!(line, "{value}"),
        Cell::Bool(value) => write!(line, "{value}"),
        Cell::Text(value) => write!(line, "{value}"),
        Cell::Time(value) => write!(line, "{}", Timestamp(*value).rfc3339()),
        Cell::Uuid(value) => write!(line, "{value}"),
        Cell::Bytes(value) => {
            write!(line, "\\\\x").and_then(|()| value.iter().try_for_each(|byte| write!(line, "{byte:02x}")))
        }
    }
    .expect("a line is written to memory");
}
