//! `docs/schema.md` tells of every table, and its statements run.

use runstone_store::{Location, ProjectIdentity, connect};
use rusqlite::Connection;
use uuid::Uuid;

const DOC: &str = include_str!("../../../docs/schema.md");

#[test]
fn the_documented_schema_is_the_one_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record.db");
    let project = ProjectIdentity { uuid: Uuid::from_u128(1), name: "p".to_owned() };
    connect(&Location::Sqlite(path.clone()), &project).unwrap();
    let connection = Connection::open(&path).unwrap();
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('migration', 'counter')")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert!(tables.len() > 10);
    for table in tables {
        assert!(DOC.contains(&format!("**{table}**")), "{table}");
    }
    let statements: Vec<&str> =
        DOC.split("```sql").skip(1).map(|rest| rest.split("```").next().unwrap().trim()).collect();
    assert_eq!(statements.len(), 8);
    for sql in statements {
        connection.prepare(sql).unwrap().query([]).unwrap().next().unwrap();
    }
}
