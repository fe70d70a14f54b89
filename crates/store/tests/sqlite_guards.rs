//! What the database itself refuses, whoever asks: decisions and ends are final, counters only grow.

use runstone_store::{Location, ProjectIdentity, connect};
use rusqlite::Connection;
use uuid::Uuid;

/// One row of each table, at a state that nothing leads away from.
const ROWS: &str = "
    INSERT INTO definition VALUES (zeroblob(32), 'steps: {}');
    INSERT INTO scheduler VALUES (x'00000000000000000000000000000001', 1, 'h', 1, 1, 'b', '0', zeroblob(16), 1, 'gone', 1, 1, 1);
    INSERT INTO schedule VALUES (1, 1, 'p', 's', 't', '{}', 2, 1, 0, 10, 20, 'null', 3);
    INSERT INTO backfill VALUES (x'00000000000000000000000000000002', 1, 'p', 'done', 1, '[]', 0, '{}', 1, 2, 'ada');
    INSERT INTO submission (run_id, project_id, number, pipeline, definition, definition_path, params, request, trigger, priority,
                            state, claims, created, ended, store_marker, tool_version, platform, user_name, host)
    VALUES (x'00000000000000000000000000000003', 1, 1, 'p', zeroblob(32), '', '{}', '{}', '', 0, 'done', 1, 1, 2, zeroblob(16),
            '', '', '', ''),
           (x'00000000000000000000000000000004', 1, 2, 'p', zeroblob(32), '', '{}', '{}', '', 0, 'queued', 5, 1, NULL,
            zeroblob(16), '', '', '', '');
    INSERT INTO fire VALUES (1, 2, 15, 15, 1, 16, x'00000000000000000000000000000003', NULL);
    PRAGMA foreign_keys = OFF;
    INSERT INTO log_leaf VALUES (1, 0, 7, zeroblob(64));
    INSERT INTO checkpoint VALUES (1, 1, zeroblob(32), 'note', 1);
    INSERT INTO tag VALUES (1, 1, 'champion');
    INSERT INTO tag_move VALUES (1, 1, 1, 'ada', 'mill', NULL);
    INSERT INTO tag_target VALUES (1, 1, 8);
    INSERT INTO reproduction VALUES (1, 7, 'same', '{}', 1, 'ada', 'mill');
    INSERT INTO asserted_run VALUES (1, 1, x'00000000000000000000000000000005', NULL, 'run');
    INSERT INTO asserted_dataset VALUES (1, 1, 'n', 'a', 1), (2, 1, 'n', 'b', 2);
    INSERT INTO asserted_event VALUES (1, 1, zeroblob(32), 1, 'run', 'START', 1, 1, 'n', 'j', 2, '{}', NULL);
    INSERT INTO asserted_edge VALUES (1, 'input', 1, NULL, NULL);
    INSERT INTO asserted_columns VALUES (1, 1, 1, zeroblob(32), '{}');
    INSERT INTO asserted_symlink VALUES (1, 1, zeroblob(32), 2);
";

/// A statement, and what is said against it.
const REFUSED: &[(&str, &str)] = &[
    ("UPDATE fire SET reason = 'late', run_id = NULL", "fires never change"),
    ("DELETE FROM fire", "fires stay"),
    ("INSERT INTO fire VALUES (1, 2, 15, 15, 1, 17, NULL, 'late')", "UNIQUE"),
    ("INSERT INTO fire VALUES (1, 2, 16, 16, 1, 17, NULL, NULL)", "CHECK"),
    ("UPDATE scheduler SET state = 'active'", "stays gone"),
    ("UPDATE scheduler SET seen = 99", "stays gone"),
    ("UPDATE schedule SET cursor = 19", "only grow"),
    ("UPDATE schedule SET generation = 1", "only grow"),
    ("UPDATE schedule SET rev = 2", "only grow"),
    ("UPDATE backfill SET state = 'active', ended = NULL", "never changes"),
    ("UPDATE submission SET state = 'queued', ended = NULL WHERE number = 1", "never changes"),
    ("UPDATE submission SET claims = 4 WHERE number = 2", "only grow"),
    ("UPDATE submission SET state = 'claimed' WHERE number = 2", "CHECK"),
    ("UPDATE submission SET cancel = 'now' WHERE number = 2", "CHECK"),
    ("UPDATE submission SET number = 1 WHERE number = 2", "UNIQUE"),
    ("DELETE FROM submission WHERE number = 2", "submissions stay"),
    ("UPDATE log_leaf SET record = zeroblob(32)", "the log never changes"),
    ("DELETE FROM log_leaf", "the log stays"),
    ("INSERT INTO log_leaf VALUES (1, 1, 7, zeroblob(32))", "UNIQUE"),
    ("INSERT INTO log_leaf VALUES (1, 1, 9, zeroblob(33))", "CHECK"),
    ("UPDATE checkpoint SET note = 'x'", "checkpoints never change"),
    ("DELETE FROM checkpoint", "checkpoints stay"),
    ("UPDATE tag SET name = 'x'", "they move"),
    ("DELETE FROM tag", "tags stay"),
    ("UPDATE tag_move SET user_name = 'eve'", "never change"),
    ("DELETE FROM tag_move", "moves of tags stay"),
    ("UPDATE tag_target SET mat_id = 9", "never change"),
    ("DELETE FROM tag_target", "moves of tags stay"),
    ("UPDATE reproduction SET verdict = 'x'", "verdicts never change"),
    ("DELETE FROM reproduction", "verdicts stay"),
    ("UPDATE asserted_run SET given = 'x'", "never change"),
    ("DELETE FROM asserted_run", "asserted runs stay"),
    ("UPDATE asserted_dataset SET name = 'x'", "never change"),
    ("DELETE FROM asserted_dataset", "asserted datasets stay"),
    ("UPDATE asserted_event SET time = 2", "never change"),
    ("DELETE FROM asserted_event", "asserted events stay"),
    (
        "INSERT INTO asserted_event VALUES (2, 1, zeroblob(32), 1, 'dataset', NULL, 1, NULL, NULL, NULL, 2, '{}', NULL)",
        "UNIQUE",
    ),
    ("UPDATE asserted_edge SET version = '1'", "never change"),
    ("DELETE FROM asserted_edge", "asserted edges stay"),
    ("INSERT INTO asserted_edge VALUES (1, 'input', 1, NULL, NULL)", "UNIQUE"),
    ("INSERT INTO asserted_edge VALUES (1, 'input', 1, '', NULL)", "CHECK"),
    ("UPDATE asserted_columns SET body = ''", "never change"),
    ("DELETE FROM asserted_columns", "asserted columns stay"),
    ("UPDATE asserted_symlink SET alias_id = 1", "never change"),
    ("DELETE FROM asserted_symlink", "asserted names stay"),
];

#[test]
fn what_was_decided_stays_decided() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let project = ProjectIdentity { uuid: Uuid::from_u128(1), name: "p".to_owned() };
    connect(&Location::Sqlite(path.clone()), &project).unwrap();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(ROWS).unwrap();
    for (statement, reason) in REFUSED {
        let error = connection.execute_batch(statement).expect_err(statement).to_string();
        assert!(error.contains(reason), "{statement}: {error}");
    }
    // What may change still does.
    connection
        .execute_batch(
            "UPDATE schedule SET cursor = 21, rev = 4; UPDATE submission SET claims = 6 WHERE number = 2;
             UPDATE asserted_dataset SET canonical_id = 1 WHERE id = 2",
        )
        .unwrap();
}
