//! Tags and their moves. A tag is where its last move leads.

use runstone_core::lineage::tag::{Expect, NewTagMove, TagMove, TagMoved, TagName};
use runstone_core::record::NodeId;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Params, Row, Transaction, params};

use crate::sqlite::{Outcome, attempts};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, d.name, t.name, m.rev, m.created, m.user_name, m.host, m.note \
             FROM dataset d CROSS JOIN tag t ON t.dataset_id = d.id CROSS JOIN tag_move m ON m.tag_id = t.id ",
            $rest
        )
    };
}

/// The row of a tag and a move of it, its targets not yet read.
fn record(row: &Row<'_>) -> rusqlite::Result<(i64, TagMove)> {
    let name: String = row.get(2)?;
    let name = TagName::new(&name)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error)))?;
    let found = TagMove {
        dataset: row.get(1)?,
        name,
        rev: row.get(3)?,
        targets: Vec::new(),
        at: Timestamp(row.get(4)?),
        user: row.get(5)?,
        host: row.get(6)?,
        note: row.get(7)?,
    };
    Ok((row.get(0)?, found))
}

fn read(tx: &Transaction<'_>, sql: &str, params: impl Params) -> Outcome<Vec<TagMove>> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut targets =
        tx.prepare_cached("SELECT mat_id FROM tag_target WHERE tag_id = ?1 AND rev = ?2 ORDER BY mat_id")?;
    let mut found = Vec::new();
    for row in statement.query_map(params, record)? {
        let (tag, mut step) = row?;
        let ids = targets.query_map(params![tag, step.rev], |row| Ok(NodeId(row.get(0)?)))?;
        step.targets = ids.collect::<rusqlite::Result<_>>()?;
        found.push(step);
    }
    Ok(found)
}

pub(super) fn list(tx: &Transaction<'_>, project: i64, dataset: Option<&str>) -> Outcome<Vec<TagMove>> {
    let sql = select!(
        "WHERE d.project_id = ?1 AND (?2 IS NULL OR d.name = ?2) \
           AND m.rev = (SELECT max(rev) FROM tag_move WHERE tag_id = t.id) ORDER BY d.name, t.name"
    );
    let mut found = read(tx, sql, params![project, dataset])?;
    found.retain(|tag| !tag.targets.is_empty());
    Ok(found)
}

pub(super) fn history(tx: &Transaction<'_>, project: i64, dataset: &str, name: &TagName) -> Outcome<Vec<TagMove>> {
    let sql = select!("WHERE d.project_id = ?1 AND d.name = ?2 AND t.name = ?3 ORDER BY m.rev DESC");
    read(tx, sql, params![project, dataset, name.as_str()])
}

/// Where a tag of a dataset leads.
pub(in crate::sqlite) fn targets(tx: &Transaction<'_>, dataset: i64, name: &TagName) -> Outcome<Vec<NodeId>> {
    let mut statement = tx.prepare_cached(
        "SELECT g.mat_id FROM tag t JOIN tag_target g ON g.tag_id = t.id
         WHERE t.dataset_id = ?1 AND t.name = ?2 AND g.rev = (SELECT max(rev) FROM tag_move WHERE tag_id = t.id)",
    )?;
    let rows = statement.query_map(params![dataset, name.as_str()], |row| Ok(NodeId(row.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn move_to(tx: &Transaction<'_>, project: i64, new: &NewTagMove) -> Outcome<TagMoved> {
    let dataset: Option<i64> = tx
        .prepare_cached("SELECT id FROM dataset WHERE project_id = ?1 AND name = ?2")?
        .query_row(params![project, new.dataset], |row| row.get(0))
        .optional()?;
    let Some(dataset) = dataset else { return Ok(TagMoved::Unknown) };
    let targets = attempts::sorted(&new.targets);
    let mut known = tx.prepare_cached(
        "SELECT 1 FROM materialization m JOIN version v ON v.id = m.version_id WHERE m.id = ?1 AND v.dataset_id = ?2",
    )?;
    for target in &targets {
        if !known.exists(params![target.0, dataset])? {
            return Ok(TagMoved::Unknown);
        }
    }
    let last = select!("WHERE d.id = ?1 AND t.name = ?2 ORDER BY m.rev DESC LIMIT 1");
    let last = read(tx, last, params![dataset, new.name.as_str()])?.pop();
    let rev = last.as_ref().map_or(0, |last| last.rev);
    if let Expect::Rev(expected) = new.expect
        && expected != rev
    {
        return Ok(TagMoved::Overtaken(last));
    }
    tx.prepare_cached("INSERT INTO tag (dataset_id, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![dataset, new.name.as_str()])?;
    let tag: i64 = tx
        .prepare_cached("SELECT id FROM tag WHERE dataset_id = ?1 AND name = ?2")?
        .query_row(params![dataset, new.name.as_str()], |row| row.get(0))?;
    tx.prepare_cached(
        "INSERT INTO tag_move (tag_id, rev, created, user_name, host, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![tag, rev + 1, new.at.0, new.user, new.host, new.note])?;
    let mut insert = tx.prepare_cached("INSERT INTO tag_target (tag_id, rev, mat_id) VALUES (?1, ?2, ?3)")?;
    for target in &targets {
        insert.execute(params![tag, rev + 1, target.0])?;
    }
    Ok(TagMoved::Moved(rev + 1))
}
