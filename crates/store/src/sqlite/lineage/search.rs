//! Attempts by anything that stands in a column. What stands within derivations is looked at elsewhere.

use runstone_core::lineage::store::Search;
use runstone_core::record::{AttemptRecord, AttemptState, NodeId};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Transaction, params_from_iter};

use crate::prefix;
use crate::sqlite::{Outcome, attempts};

pub(super) fn search(tx: &Transaction<'_>, project: i64, search: &Search) -> Outcome<Vec<AttemptRecord>> {
    let Some(conditions) = Conditions::of(search) else { return Ok(Vec::new()) };
    let mut values = vec![Value::Integer(project)];
    let mut sql = attempts::SELECT.to_owned() + "WHERE a.project_id = ?";
    for (condition, bound) in conditions.0 {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.extend(bound);
    }
    sql.push_str(" ORDER BY a.id DESC LIMIT ?");
    values.push(Value::Integer(search.limit.into()));
    let mut statement = tx.prepare(&sql)?;
    let rows = statement.query_map(params_from_iter(values), attempts::record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What stood for the same partition comes before what stood for another one, and success before failure.
pub(super) fn preceding(tx: &Transaction<'_>, project: i64, attempt: NodeId) -> Outcome<Option<AttemptRecord>> {
    let sql = attempts::SELECT.to_owned()
        + "JOIN attempt n ON n.id = ?2 JOIN run p ON p.id = n.run_id
           WHERE a.project_id = ?1 AND n.project_id = ?1 AND a.pipeline = n.pipeline AND a.step = n.step
             AND a.cell = n.cell AND a.id < n.id AND a.run_id <> n.run_id
           ORDER BY r.partition IS p.partition DESC, a.state = 'succeeded' DESC, a.id DESC LIMIT 1";
    Ok(tx.prepare_cached(&sql)?.query_row([project, attempt.0], attempts::record).optional()?)
}

/// Conditions with the values they are about.
struct Conditions(Vec<(&'static str, Vec<Value>)>);

impl Conditions {
    /// None where nothing can fit: a prefix that is no beginning of a hash.
    fn of(search: &Search) -> Option<Self> {
        let mut all = Self(Vec::new());
        let text = |text: &Option<String>| text.clone().map(|text| vec![Value::Text(text)]);
        all.put("a.pipeline = ?", text(&search.pipeline));
        all.put("a.step = ?", text(&search.step));
        all.put("r.user_name = ?", text(&search.user));
        all.put("r.host = ?", text(&search.host));
        let commit = search.git_commit.as_ref().map(|digits| {
            let digits = Value::Text(digits.to_ascii_lowercase());
            vec![digits.clone(), digits]
        });
        all.put("substr(r.git_commit, 1, length(?)) = ?", commit);
        all.put("a.created >= ?", search.since.map(|time| vec![Value::Integer(time.0)]));
        all.put("a.created < ?", search.until.map(|time| vec![Value::Integer(time.0)]));
        all.put("a.id < ?", search.before.map(|node| vec![Value::Integer(node.0)]));
        let state = search.succeeded.map(|yes| if yes { AttemptState::Succeeded } else { AttemptState::Failed });
        all.put("a.state = ?", state.map(|state| vec![Value::Text(state.as_str().to_owned())]));
        for (given, condition) in [
            (
                &search.input,
                "a.id IN (SELECT c.attempt_id FROM version v CROSS JOIN materialization m ON m.version_id = v.id \
                 CROSS JOIN consumed c ON c.mat_id = m.id WHERE v.hash BETWEEN ? AND ?)",
            ),
            (
                &search.output,
                "a.id IN (SELECT m.attempt_id FROM version v CROSS JOIN materialization m ON m.version_id = v.id \
                 WHERE v.hash BETWEEN ? AND ?)",
            ),
        ] {
            let Some(given) = given else { continue };
            let (low, high) = prefix::hash_range(given)?;
            all.put(condition, Some(vec![Value::Blob(low.to_vec()), Value::Blob(high.to_vec())]));
        }
        for range in &search.metrics {
            all.put(
                "EXISTS (SELECT 1 FROM metric m WHERE m.attempt_id = coalesce(a.reused_from, a.id) AND m.name = ? \
                 AND m.slice = ? AND m.value >= ? AND m.value <= ?)",
                Some(vec![
                    Value::Text(range.name.clone()),
                    Value::Text(range.slice.clone()),
                    Value::Real(range.min),
                    Value::Real(range.max),
                ]),
            );
        }
        Some(all)
    }

    fn put(&mut self, condition: &'static str, values: Option<Vec<Value>>) {
        self.0.extend(values.map(|values| (condition, values)));
    }
}
