//! Whatever is changed behind Runstone's back is found and named: rows of the record, and files of an export.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::project::Project;
use crate::running::Ran;
use crate::shop::{database, grown, key_of};

/// A project whose record can be put back as it was.
struct Record {
    project: Project,
    saved: Vec<u8>,
}

impl Record {
    fn new() -> Self {
        let project = grown();
        // A result that is taken over under other names: what it read is of another version.
        project.write("raw.csv", "a 1\nb 2\nc 3\n");
        project.run(&["shop.yaml"]);
        project.runstone(&["verify"]).ok();
        let connection = Connection::open(database(&project)).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        let saved = std::fs::read(database(&project)).unwrap();
        Self { project, saved }
    }

    /// Changes the record without its guards, and verifies.
    fn after(&self, change: impl FnOnce(&Connection)) -> Ran {
        for end in ["-wal", "-shm"] {
            let mut path = database(&self.project).into_os_string();
            path.push(end);
            // It is not always there.
            let _ = std::fs::remove_file(path);
        }
        std::fs::write(database(&self.project), &self.saved).unwrap();
        let connection = Connection::open(database(&self.project)).unwrap();
        for trigger in texts(&connection, "SELECT name FROM sqlite_schema WHERE type = 'trigger'") {
            connection.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;").unwrap();
        change(&connection);
        drop(connection);
        self.project.runstone(&["verify", "--json"])
    }

    /// Changes every column of a table in one of its rows, one after the other, and expects that each is found, in words
    /// that have one of these parts.
    fn every_column_counts(&self, table: &str, which: &str, except: &[&str], names: &[&str]) {
        let connection = Connection::open(database(&self.project)).unwrap();
        let columns = texts(&connection, &format!("SELECT name FROM pragma_table_info('{table}')"));
        drop(connection);
        for column in &columns {
            let ran = self.after(|connection| {
                let one = format!("SELECT {column}, * FROM {table} WHERE {which} LIMIT 1");
                let mut statement = connection.prepare(&one).unwrap();
                let row: Vec<Value> =
                    statement.query_row([], |row| (0..=columns.len()).map(|at| row.get(at)).collect()).unwrap();
                let kind = format!("SELECT type FROM pragma_table_info('{table}') WHERE name = '{column}'");
                let other = other(&row[0], &texts(connection, &kind)[0]);
                let this: Vec<String> = columns.iter().map(|column| format!("{column} IS ?")).collect();
                let update = format!("UPDATE {table} SET {column} = ? WHERE {}", this.join(" AND "));
                let values = std::iter::once(other).chain(row.into_iter().skip(1));
                assert_eq!(connection.execute(&update, rusqlite::params_from_iter(values)).unwrap(), 1);
            });
            let code = i32::from(!except.contains(&column.as_str()));
            assert_eq!(ran.code, code, "{table}.{column}: {ran:?}");
            let found = findings(&ran);
            let is_named = names.iter().any(|name| found.contains(name));
            assert!(is_named || code == 0, "{table}.{column} is not named: {found}");
        }
    }
}

/// What was found, each as its kind and its sentence.
fn findings(ran: &Ran) -> String {
    let report = ran.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let found = report["findings"].as_array().unwrap().iter();
    found.map(|it| format!("{}: {}\n", text(&it["kind"]), text(&it["message"]))).collect()
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

/// Another value of the same type.
fn other(value: &Value, kind: &str) -> Value {
    match value {
        Value::Null => match kind {
            "INTEGER" => Value::Integer(77),
            "BLOB" => Value::Blob(vec![7; 32]),
            _ => Value::Text("forged".into()),
        },
        Value::Integer(number @ (0 | 1)) => Value::Integer(1 - number),
        Value::Integer(number) => Value::Integer(number + 1000),
        Value::Real(number) => Value::Real(-number),
        Value::Text(text) if text == "verified" => Value::Text("asserted".into()),
        Value::Text(text) if text.starts_with('{') => Value::Text("{\"forged\": true}".into()),
        Value::Text(text) => Value::Text(format!("{text}x")),
        Value::Blob(bytes) => {
            let mut bytes = bytes.clone();
            bytes[0] ^= 1;
            Value::Blob(bytes)
        }
    }
}

/// `pool` and what belongs to it are empty once it ended, which is a rule of the record.
#[test]
fn every_column_of_an_attempt_counts() {
    let record = Record::new();
    let node = "id = (SELECT a.id FROM attempt a JOIN run r ON r.id = a.run_id \
                WHERE r.number = 3 AND a.step = 'model' AND a.cell = 'lr=0.1')";
    record.every_column_counts("attempt", node, &[], &["#3 shop", "attempt ", "of run #3 "]);
    record.every_column_counts("attempt", "kind = 'reuse'", &[], &["#4 shop", "attempt ", "of run #4 "]);
}

#[test]
fn every_column_of_the_graph_counts() {
    let record = Record::new();
    let report = "attempt_id = (SELECT a.id FROM attempt a JOIN run r ON r.id = a.run_id \
                  WHERE r.number = 3 AND a.step = 'report')";
    let names = ["#3 shop/report", "#3 shop/model", "publication ", "attempt "];
    record.every_column_counts("consumed", report, &[], &names);
    record.every_column_counts("materialization", report, &[], &names);
    record.every_column_counts("metric", "name = 'f1' AND value = 0.5", &[], &["shop/model{lr=0.5}", "metric "]);
    let raw = "id = (SELECT version_id FROM materialization WHERE output = 'raw' ORDER BY id LIMIT 1)";
    record.every_column_counts("version", raw, &[], &["shop/raw", "version 1 ", "attempt ", "publication "]);
    record.every_column_counts("dataset", "name = 'shop/raw'", &[], &["shop/", "publication ", "attempt "]);
}

/// Not covered: `state`, `reason`, `ended`, `epoch` and `cancel` change while a run goes on; they are held against the
/// events. `written` is when a run last asked for slots of a pool, and means nothing after it.
#[test]
fn every_column_of_a_run_counts() {
    let record = Record::new();
    let names = ["#3 ", "#3: ", "#1003 ", "attempt ", "publication ", "CHECK constraint failed in run"];
    record.every_column_counts("run", "number = 3", &["written"], &names);
    record.every_column_counts(
        "definition",
        "body LIKE '%board%'",
        &[],
        &["definition: b3:", "run #2 has no definition"],
    );
    let names = ["derivation: ", "has no derivation"];
    record.every_column_counts("derivation", "canonical LIKE '%train%'", &[], &names);
}

/// Not covered: `created` of a checkpoint is not part of what is signed. Who takes one away that is not the last (which is
/// what another `project_id` comes to) takes nothing that the last does not sign.
#[test]
fn every_column_of_the_log_counts() {
    let record = Record::new();
    let names = ["leaf", "checkpoint", "attempt "];
    record.every_column_counts("log_leaf", "idx = 3", &[], &names);
    let last = "idx = (SELECT max(idx) FROM log_leaf)";
    record.every_column_counts("log_leaf", last, &[], &names);
    record.every_column_counts("checkpoint", "1", &["created", "project_id"], &["checkpoint"]);
}

/// Not covered: tags are no part of the log. What they lead to must be there; who moved one when and why is as it is
/// written.
#[test]
fn tags_lead_to_what_is_there() {
    let record = Record::new();
    record.every_column_counts("tag", "1", &["name"], &["tag "]);
    let said = ["created", "user_name", "host", "note"];
    record.every_column_counts("tag_move", "1", &said, &["tag ", "CHECK constraint failed in tag_move"]);
    let names = ["publication ", "CHECK constraint failed in tag_target"];
    record.every_column_counts("tag_target", "1", &[], &names);
}

#[test]
fn rows_that_are_gone_or_new_are_found() {
    let record = Record::new();
    for (change, finding) in [
        ("DELETE FROM consumed WHERE mat_id = (SELECT min(mat_id) FROM consumed WHERE slot = 'rows')", "(leaf "),
        ("DELETE FROM metric WHERE name = 'rows'", "shop/model{lr="),
        ("DELETE FROM derivation", "derivation: "),
        ("DELETE FROM definition", "definition: "),
        ("DELETE FROM log_leaf WHERE idx = 2", "leaf 2 is missing"),
        ("DELETE FROM log_leaf WHERE idx = (SELECT max(idx) FROM log_leaf)", "covers more leaves than the log has"),
        ("DELETE FROM attempt WHERE step = 'view'", "is not on record"),
        ("DELETE FROM materialization WHERE output = 'view'", "#2 board/view (leaf "),
        (
            "INSERT INTO metric (attempt_id, name, slice, value) SELECT id, 'better', '', 1 FROM attempt WHERE step = 'view'",
            "#2 board/view (leaf ",
        ),
        (
            "INSERT INTO consumed (attempt_id, mat_id, slot, trust) \
             SELECT a.id, m.id, 'more', 'verified' FROM attempt a, materialization m WHERE a.step = 'view' AND m.output = 'raw'",
            "#2 board/view (leaf ",
        ),
        // As if it had never been: neither in the log nor on the way there.
        (
            "DELETE FROM log_leaf; DELETE FROM checkpoint; INSERT INTO unlogged SELECT project_id, id FROM attempt; \
             DELETE FROM unlogged WHERE attempt_id = (SELECT max(id) FROM attempt)",
            "will never be in the log",
        ),
    ] {
        let ran = record.after(|connection| {
            connection.execute_batch(change).unwrap();
            assert!(connection.changes() > 0, "{change} changed nothing");
        });
        assert_eq!(ran.code, 1, "{change}: {ran:?}");
        let found = findings(&ran);
        assert!(found.contains(finding), "{change}: {found}");
    }
}

/// One change is one finding, and the first: whoever reads it knows where to look.
#[test]
fn what_was_changed_is_the_first_thing_that_is_named() {
    let record = Record::new();
    let ran = record.after(|connection| {
        let one =
            "UPDATE metric SET value = 0.99 WHERE attempt_id = (SELECT max(attempt_id) FROM metric) AND name = 'f1'";
        assert_eq!(connection.execute(one, []).unwrap(), 1);
    });
    let report = ran.code(1).json();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0]["kind"], "statement");
    assert!(findings[0]["message"].as_str().unwrap().contains("#3 shop/model{lr="), "{findings:#?}");
    let log = record.project.runstone(&["verify", "--log"]).code(1);
    assert!(log.out.contains("#3 shop/model{lr="), "{log:?}");
    log.says(&["1 problem found"]);
}

#[test]
fn a_record_that_is_rewritten_with_its_log_needs_the_key() {
    let record = Record::new();
    let key = key_of(&record.project);
    std::fs::write(record.project.path(".runstone/signing-key"), format!("{}\n", "ab".repeat(32))).unwrap();
    record.project.runstone(&["verify"]).code(1);
    record.project.runstone(&["verify", "--key", &key]).ok();
    std::fs::remove_file(record.project.path(".runstone/signing-key")).unwrap();
    let ran = record.project.runstone(&["verify"]).code(1);
    assert!(ran.out.contains("no signature on this note is of a trusted key"), "{ran:?}");
}

/// Who can write the record and nothing else makes up another history, with a log that fits it.
#[test]
fn no_key_signs_a_history_that_was_made_up() {
    const ANEW: &str = "UPDATE metric SET value = 0.99 WHERE name = 'f1'; DELETE FROM log_leaf; DELETE FROM checkpoint; \
                        INSERT INTO unlogged SELECT project_id, id FROM attempt WHERE state IN ('succeeded', 'failed')";
    let record = Record::new();
    let connection = Connection::open(database(&record.project)).unwrap();
    let signed = texts(&connection, "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").remove(0);
    drop(connection);
    record.project.write("seen.note", signed);
    let checkpoints = |project: &Project| {
        let connection = Connection::open(database(project)).unwrap();
        texts(&connection, "SELECT note FROM checkpoint").len()
    };
    let ran = record.after(|connection| connection.execute_batch(ANEW).unwrap());
    assert!(ran.code == 1 && findings(&ran).contains("leaves was signed, and now it has 0"), "{ran:?}");
    assert_eq!(checkpoints(&record.project), 0, "it is not signed");
    // A run ends as it did, and says that it is not signed.
    let warned = record.project.runstone(&["run", "shop.yaml"]).ok();
    assert!(warned.err.contains("the log was not brought up to date"), "{warned:?}");
    assert_eq!(checkpoints(&record.project), 0);

    let ran = record.after(|connection| connection.execute_batch("DELETE FROM checkpoint").unwrap());
    assert!(ran.code == 1 && findings(&ran).contains("are not signed"), "{ran:?}");
    assert_eq!(checkpoints(&record.project), 0);

    // Without what was kept beside the record, it takes a checkpoint that was kept elsewhere.
    std::fs::remove_file(record.project.path(".runstone/last-checkpoint")).unwrap();
    let ran = record.after(|connection| connection.execute_batch(ANEW).unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = record.project.runstone(&["verify", "--log", "--checkpoint", "seen.note"]).code(1);
    assert!(told.out.contains("was another one when it was signed"), "{told:?}");
}

fn export(project: &Project, to: &str) {
    project.runstone(&["export", "board/view", "--to", to, "--objects"]).ok();
}

#[test]
fn an_export_is_verified_alone_and_says_what_does_not_fit() {
    let project = grown();
    export(&project, "out");
    let key = key_of(&project);
    // Elsewhere, without the project.
    let away = Project::empty();
    let folder = away.path("taken");
    std::fs::rename(project.path("out"), &folder).unwrap();
    drop(project);
    let whole = away.json(&["verify", "taken", "--key", &key]);
    assert_eq!((&whole["key_is_known"], &whole["findings"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(whole["manifest"]["versions"][0]["name"], "board/view@v1");
    assert!(!away.exists(".runstone"), "it makes nothing");
    let told = away.runstone(&["verify", "taken"]).ok();
    assert!(told.out.contains("this key is what the export itself brings"), "{told:?}");

    // A sample of bytes of each file; every one of them is tried where the archive is tested by itself.
    for path in away.files("taken") {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            std::fs::write(&path, changed).unwrap();
            away.runstone(&["verify", "taken", "--key", &key])
                .code(1)
                .says(&["the first thing that does not fit", &name]);
        }
        std::fs::write(&path, bytes).unwrap();
    }
    away.runstone(&["verify", "taken", "--key", &key]).ok();
    std::fs::rename(folder.join("manifest.note"), away.path("aside")).unwrap();
    away.runstone(&["verify", "taken"]).code(1).says(&["manifest.note is missing"]);
    std::fs::rename(away.path("aside"), folder.join("manifest.note")).unwrap();

    let stranger = grown();
    stranger.runstone(&["verify"]).ok();
    away.runstone(&["verify", "taken", "--key", &key_of(&stranger)]).code(1).says(&["manifest.note"]);
    away.runstone(&["verify", "taken", "--key", "no key"]).code(2);
    away.runstone(&["verify", "nothing.export"]).code(4);
    away.runstone(&["verify", "taken", "--checkpoint", "nowhere"]).code(74);
}

#[test]
fn an_earlier_checkpoint_tells_a_log_that_was_rolled_back() {
    let record = Record::new();
    let project = &record.project;
    let note = |project: &Project| {
        let connection = Connection::open(database(project)).unwrap();
        texts(&connection, "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").remove(0)
    };
    project.write("seen.note", note(project));
    project.write("raw.csv", "e 5\n");
    project.run(&["shop.yaml"]);
    project.runstone(&["export", "--all", "--to", "later.export"]).ok();
    project.runstone(&["verify", "later.export", "--checkpoint", "seen.note"]).ok();
    project.write("newest.note", note(project));
    // The record of before is put back, with all that it was signed with.
    let ran = record.after(|_| {});
    assert!(ran.code == 1 && findings(&ran).contains("leaves was signed, and now it has"), "{ran:?}");
    project.runstone(&["export", "--all", "--to", "not.export"]).code(5).says(&["does not go on from what it was"]);
    project.runstone(&["verify"]).code(1).says(&["on purpose, remove", "last-checkpoint"]);
    std::fs::remove_file(project.path(".runstone/last-checkpoint")).unwrap();
    project.runstone(&["verify"]).ok();
    let told = project.runstone(&["verify", "--checkpoint", "newest.note"]).code(1);
    assert!(told.out.contains("leaves was signed, and now it has"), "{told:?}");
    project.runstone(&["verify", "--checkpoint", "seen.note"]).ok();
    project.runstone(&["export", "--all", "--to", "rolled-back.export"]).ok();
    project.runstone(&["verify", "rolled-back.export"]).ok();
    let found = project.runstone(&["verify", "rolled-back.export", "--checkpoint", "newest.note"]).code(1);
    found.says(&["checkpoints.jsonl", "nothing proves that the log went on from the given checkpoint"]);
    project.runstone(&["verify", "--checkpoint", "raw.csv"]).code(2).says(&["raw.csv is no checkpoint"]);
    project.runstone(&["verify", "shop/raw", "--checkpoint", "newest.note"]).code(2);
}
