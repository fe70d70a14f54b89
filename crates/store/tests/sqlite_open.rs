//! Which files are opened and which are refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why")]

use std::path::Path;

use runstone_core::record::NodeId;
use runstone_core::store::{Applied, Change, Ownership, RunRef, StoreError};
use runstone_core::time::Timestamp;
use runstone_store::{Location, ProjectIdentity, connect, sqlite::OpenError};
use rusqlite::Connection;
use uuid::Uuid;

fn project(name: &str) -> ProjectIdentity {
    ProjectIdentity { uuid: Uuid::from_u128(1), name: name.to_owned() }
}

fn refusal(path: &Path) -> StoreError {
    let error = connect(&Location::Sqlite(path.to_owned()), &project("p")).err().expect("must be refused");
    assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{error} names the file");
    error
}

fn is_foreign(error: &StoreError) -> bool {
    let StoreError::Database { source, .. } = error else { return false };
    source.downcast_ref() == Some(&OpenError::Foreign)
}

#[test]
fn a_new_file_is_made_and_opened_again_without_a_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let location = Location::Sqlite(path.clone());
    let mut store = connect(&location, &project("p")).unwrap();
    assert_eq!(store.describe(), format!("sqlite:{}", path.display()));
    assert_eq!(store.run(&RunRef::Latest).unwrap(), None);
    drop(store);
    let version = || {
        let connection = Connection::open(&path).unwrap();
        connection
            .query_row("SELECT count(*) || max(applied) FROM migration", [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    let first = version();
    // An open writer does not keep others from opening: they have nothing to write.
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    connect(&location, &project("p")).unwrap();
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(version(), first);
}

#[test]
fn a_renamed_project_keeps_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    for name in ["old", "new"] {
        connect(&Location::Sqlite(path.clone()), &project(name)).unwrap();
    }
    let connection = Connection::open(&path).unwrap();
    let names: String = connection.query_row("SELECT group_concat(name) FROM project", [], |row| row.get(0)).unwrap();
    assert_eq!(names, "new");
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.db"), "not a database at all, but long enough to be looked at as one\n".repeat(20))
        .unwrap();
    assert!(matches!(refusal(&path("text.db")), StoreError::Damaged(_)));

    Connection::open(path("other.db")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    Connection::open(path("app.db")).unwrap().execute_batch("PRAGMA application_id = 7").unwrap();
    Connection::open(path("versioned.db")).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
    for name in ["other.db", "app.db", "versioned.db"] {
        let before = std::fs::read(path(name)).unwrap();
        let error = refusal(&path(name));
        assert!(is_foreign(&error), "{name}: {error:?}");
        assert_eq!(std::fs::read(path(name)).unwrap(), before, "{name}");
    }
    assert!(matches!(refusal(&path("no/folder.db")), StoreError::Database { .. }));
    assert!(matches!(refusal(folder.path()), StoreError::Database { .. }));
}

#[test]
fn a_newer_schema_and_an_edited_migration_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let location = Location::Sqlite(path.clone());
    connect(&location, &project("p")).unwrap();
    let sql = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    sql("PRAGMA user_version = 99");
    let error = connect(&location, &project("p")).err().unwrap();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error:?}");
    sql("PRAGMA user_version = 0; UPDATE migration SET checksum = zeroblob(32)");
    let error = connect(&location, &project("p")).err().unwrap();
    assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
}

#[test]
fn flipped_bytes_are_refused_or_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let location = Location::Sqlite(path.clone());
    drop(connect(&location, &project("p")).unwrap());
    Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let sound = std::fs::read(&path).unwrap();
    let mut told = 0;
    let mut damaged = 0;
    for at in (4096..sound.len()).step_by(4096) {
        // The header of a page: its kind, its free space, its cells.
        let mut bytes = sound.clone();
        for byte in &mut bytes[at..at + 8] {
            *byte ^= 0x5a;
        }
        std::fs::write(&path, bytes).unwrap();
        damaged += 1;
        let found = connect(&location, &project("p")).and_then(|mut store| store.check());
        told += usize::from(found.map_or(true, |found| !found.is_empty()));
    }
    assert_eq!(told, damaged);
}

#[test]
fn the_file_may_be_made_by_many_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.db");
        let openers: Vec<_> = (0..6)
            .map(|_| {
                let location = Location::Sqlite(path.clone());
                std::thread::spawn(move || connect(&location, &project("p")).map(|store| store.describe()))
            })
            .collect();
        for opener in openers {
            opener.join().unwrap().unwrap();
        }
        let connection = Connection::open(&path).unwrap();
        let counts: (i64, i64, i64) = connection
            .query_row("SELECT (SELECT count(*) FROM project), count(*), max(version) FROM migration", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert!(counts.0 == 1 && counts.1 == counts.2, "{counts:?}");
    }
}

/// A record as the first version of the schema kept it: a run that is over, and one with an attempt that failed and
/// one under way.
const OLD_RECORD: &str = "
    INSERT INTO project (id, uuid, name, runs) VALUES (1, x'00000000000000000000000000000001', 'p', 2);
    UPDATE counter SET node = 7, event = 1;
    INSERT INTO content_store VALUES (1, zeroblob(16));
    INSERT INTO definition VALUES (zeroblob(32), 'steps: {}');
    INSERT INTO run (id, project_id, number, pipeline, definition, definition_path, params, request, trigger, state, created,
                     ended, epoch, store_marker, tool_version, platform, user_name, host)
    VALUES (randomblob(16), 1, 1, 'p', zeroblob(32), 'p.yaml', '{}', '{}', 'manual', 'succeeded', 1, 2, 1, zeroblob(16), '', '', '', ''),
           (x'00000000000000000000000000000002', 1, 2, 'p', zeroblob(32), 'p.yaml', '{}', '{}', 'manual', 'running', 1, NULL, 1,
            zeroblob(16), '', '', '', '');
    INSERT INTO derivation VALUES (zeroblob(32), x'00');
    PRAGMA defer_foreign_keys = ON;
    INSERT INTO task VALUES (x'00000000000000000000000000000002', 0, 'a', '', 'assigned', 2, 7, zeroblob(32), NULL);
    INSERT INTO attempt (id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, kind, state, fingerprint, reusable,
                         created)
    VALUES (7, zeroblob(16), 1, x'00000000000000000000000000000002', 0, 2, 'p', 'a', '', 'run', 'assigned', zeroblob(32), 0, 1);
    INSERT INTO attempt (id, uuid, project_id, run_id, task_idx, number, pipeline, step, cell, kind, state, fingerprint, reusable,
                         created, started, ended, cause, user_us, system_us, peak_rss, stdout_bytes, stderr_bytes, leftovers)
    VALUES (5, randomblob(16), 1, x'00000000000000000000000000000002', 0, 1, 'p', 'a', '', 'run', 'failed', zeroblob(32), 0,
            1, 1, 1, 'lost', 0, 0, 0, 0, 0, 0);
    INSERT INTO event VALUES (x'00000000000000000000000000000002', 1, 1, 'run_taken_over', NULL, NULL, '{\"reopened\": true}');
";

#[test]
fn an_older_record_is_kept_and_goes_on() {
    const FIRST: &str = include_str!("../../../migrations/sqlite/0001_record.sql");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let connection = Connection::open(&path).unwrap();
    let checksum = runstone_core::hash::ContentHash::of(FIRST.as_bytes());
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; BEGIN; {FIRST} {OLD_RECORD}
             CREATE TABLE migration (
                 version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum BLOB NOT NULL, applied TEXT NOT NULL
             ) STRICT;
             INSERT INTO migration VALUES (1, 'record', x'{}', 'then');
             PRAGMA application_id = {}; PRAGMA user_version = 1; COMMIT;",
            checksum.to_hex(),
            0x5255_4e53
        ))
        .unwrap();
    drop(connection);

    let mut store = connect(&Location::Sqlite(path.clone()), &project("p")).unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    let run = store.run(&RunRef::Number(2)).unwrap().unwrap();
    assert_eq!((run.partition, store.tasks(run.id).unwrap()[0].attempts), (None, 2));
    assert_eq!(store.unlogged(9).unwrap(), [NodeId(5)], "what ended before is to be logged as well");
    let owner = Ownership { run: run.id, epoch: 1 };
    let running = Change::Running { task: 0, number: 2 };
    assert_eq!(store.commit(owner, Timestamp(5), &[running]).unwrap(), [Applied::Done]);
    assert!(store.pools().unwrap().is_empty() && store.submission(&RunRef::Latest).unwrap().is_none());
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
    let applied: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM migration WHERE version = 1 AND applied = 'then'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(applied, 1);
}
