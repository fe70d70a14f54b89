//! Tags and their moves. A tag is where its last move leads. They move under the lock of their dataset.

use runstone_core::lineage::tag::{Expect, NewTagMove, TagMove, TagMoved, TagName};
use runstone_core::record::NodeId;
use sqlx::postgres::{PgBindIterExt, PgRow};

use crate::postgres::session::{Tx, TxResult};
use crate::postgres::value::{Time, damaged, get, get_time, opt_text, text};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT d.name AS dataset, t.name, m.rev, m.created, m.user_name, m.host, m.note, ARRAY( \
                 SELECT g.mat_id FROM tag_target g WHERE g.tag_id = m.tag_id AND g.rev = m.rev ORDER BY g.mat_id) AS targets \
             FROM dataset d JOIN tag t ON t.dataset_id = d.id JOIN tag_move m ON m.tag_id = t.id ",
            $rest
        )
    };
}

fn record(row: &PgRow) -> TxResult<TagMove> {
    let name: &str = get(row, "name")?;
    Ok(TagMove {
        dataset: get(row, "dataset")?,
        name: TagName::new(name).map_err(|error| damaged(error.to_string()))?,
        rev: get(row, "rev")?,
        targets: get::<Vec<i64>>(row, "targets")?.into_iter().map(NodeId).collect(),
        at: get_time(row, "created")?,
        user: get(row, "user_name")?,
        host: get(row, "host")?,
        note: get(row, "note")?,
    })
}

pub(super) async fn list(tx: &mut Tx<'_>, project: i64, dataset: Option<&str>) -> TxResult<Vec<TagMove>> {
    let query = tx
        .query(select!(
            "WHERE d.project_id = $1 AND ($2::text IS NULL OR d.name = $2) \
                 AND m.rev = (SELECT max(x.rev) FROM tag_move x WHERE x.tag_id = t.id) \
                 AND EXISTS (SELECT FROM tag_target g WHERE g.tag_id = m.tag_id AND g.rev = m.rev) \
             ORDER BY d.name, t.name"
        ))
        .bind(project)
        .bind(dataset);
    tx.rows(query).await?.iter().map(record).collect()
}

pub(super) async fn history(tx: &mut Tx<'_>, project: i64, dataset: &str, name: &TagName) -> TxResult<Vec<TagMove>> {
    let query = tx
        .query(select!("WHERE d.project_id = $1 AND d.name = $2 AND t.name = $3 ORDER BY m.rev DESC"))
        .bind(project)
        .bind(dataset)
        .bind(name.as_str());
    tx.rows(query).await?.iter().map(record).collect()
}

async fn last_move(tx: &mut Tx<'_>, dataset: i64, name: &TagName) -> TxResult<Option<TagMove>> {
    let query = tx
        .query(select!("WHERE d.id = $1 AND t.name = $2 ORDER BY m.rev DESC LIMIT 1"))
        .bind(dataset)
        .bind(name.as_str());
    tx.row(query).await?.as_ref().map(record).transpose()
}

pub(super) async fn move_to(tx: &mut Tx<'_>, project: i64, new: &NewTagMove) -> TxResult<TagMoved> {
    // One that moves at the same time waits here, and each statement after it sees what the other one committed.
    const LOCK: &str = "SELECT id FROM dataset WHERE project_id = $1 AND name = $2 FOR NO KEY UPDATE";
    let query = tx.query(LOCK).bind(project).bind(new.dataset.as_str());
    let Some(row) = tx.row(query).await? else { return Ok(TagMoved::Unknown) };
    let dataset: i64 = get(&row, "id")?;
    let mut targets: Vec<i64> = new.targets.iter().map(|id| id.0).collect();
    targets.sort_unstable();
    targets.dedup();
    if !are_of(tx, dataset, &targets).await? {
        return Ok(TagMoved::Unknown);
    }
    let last = last_move(tx, dataset, &new.name).await?;
    let rev = last.as_ref().map_or(0, |last| last.rev);
    if let Expect::Rev(expected) = new.expect
        && expected != rev
    {
        return Ok(TagMoved::Overtaken(last));
    }
    insert(tx, dataset, new, rev + 1, &targets).await?;
    Ok(TagMoved::Moved(rev + 1))
}

/// Whether all of these are publications of a dataset.
async fn are_of(tx: &mut Tx<'_>, dataset: i64, targets: &[i64]) -> TxResult<bool> {
    const COUNT: &str = "SELECT count(*) FROM materialization m JOIN version v ON v.id = m.version_id \
         WHERE m.id = ANY($2) AND v.dataset_id = $1";
    let query = tx.query(COUNT).bind(dataset).bind(targets);
    let count: i64 = tx.row(query).await?.map_or(Ok(0), |row| get(&row, "count"))?;
    Ok(usize::try_from(count) == Ok(targets.len()))
}

async fn insert(tx: &mut Tx<'_>, dataset: i64, new: &NewTagMove, rev: i64, targets: &[i64]) -> TxResult<()> {
    const MOVE: &str = "WITH known AS ( \
             SELECT id FROM tag WHERE dataset_id = $1 AND name = $2), \
         made AS ( \
             INSERT INTO tag (dataset_id, name) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM known) RETURNING id), \
         moved AS ( \
             INSERT INTO tag_move (tag_id, rev, created, user_name, host, note) \
             SELECT t.id, $3, $4, $5, $6, $7 FROM (TABLE known UNION ALL TABLE made) t RETURNING tag_id, rev) \
         INSERT INTO tag_target (tag_id, rev, mat_id) \
         SELECT m.tag_id, m.rev, w.id FROM moved m CROSS JOIN unnest($8::bigint[]) AS w(id)";
    let query = tx
        .query(MOVE)
        .bind(dataset)
        .bind(new.name.as_str())
        .bind(rev)
        .bind(Time(new.at))
        .bind(text(&new.user))
        .bind(text(&new.host))
        .bind(opt_text(new.note.as_deref()))
        .bind(targets.iter().copied().bind_iter());
    tx.execute(query).await?;
    Ok(())
}
