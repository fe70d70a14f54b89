//! Looks for what must not be: the pages themselves, rows without their companions, and events that tell another story.

use runstone_core::store::RunFilter;
use rusqlite::Transaction;

use super::{Outcome, events, runs, service, tasks};
use crate::fold;

/// At most so many sentences of one kind.
const MOST_OF_A_KIND: u32 = 20;

/// What must not be found: each statement gives one sentence a row. `?1` is the project.
const RULES: &[&str] = &[
    // Runs and tasks.
    "SELECT 'project ' || name || ' has counted ' || runs || ' runs and has a run #' || max(r.number)
     FROM project p JOIN run r ON r.project_id = p.id WHERE p.id = ?1 GROUP BY p.id HAVING max(r.number) > p.runs",
    "SELECT 'run #' || r.number || ' is ' || r.state || ', but its task ' || t.idx || ' is ' || t.state
     FROM run r JOIN task t ON t.run_id = r.id
     WHERE r.project_id = ?1 AND r.state <> 'running' AND t.state IN ('waiting', 'assigned', 'retrying')",
    "SELECT 'run #' || r.number || ' has ' || count(*) || ' tasks, and the last has index ' || max(t.idx)
     FROM run r JOIN task t ON t.run_id = r.id WHERE r.project_id = ?1 GROUP BY r.id HAVING count(*) <> max(t.idx) + 1",
    "SELECT 'run #' || r.number || ' has no definition' FROM run r LEFT JOIN definition d ON d.hash = r.definition
     WHERE r.project_id = ?1 AND d.hash IS NULL",
    "SELECT 'task ' || t.idx || ' of run #' || r.number || ' is ' || t.state || ', but its attempt is '
            || coalesce(a.kind || ' ' || a.state, 'not on record')
     FROM run r JOIN task t ON t.run_id = r.id LEFT JOIN attempt a ON a.id = t.attempt_id
     WHERE r.project_id = ?1 AND NOT coalesce(CASE t.state
         WHEN 'assigned' THEN a.state IN ('assigned', 'running') AND a.run_id = t.run_id AND a.task_idx = t.idx
         WHEN 'retrying' THEN a.state = 'failed' AND a.run_id = t.run_id AND a.task_idx = t.idx
         WHEN 'succeeded' THEN a.state = 'succeeded' AND a.run_id = t.run_id AND a.task_idx = t.idx
         WHEN 'reused' THEN a.state = 'succeeded' AND a.project_id = r.project_id
         ELSE t.attempt_id IS NULL OR a.state IN ('succeeded', 'failed') END, 0)",
    "SELECT 'task ' || t.idx || ' of run #' || r.number || ' has counted ' || t.attempts || ' attempts, on record are '
            || count(a.id) || ' up to number ' || coalesce(max(a.number), 0)
     FROM run r JOIN task t ON t.run_id = r.id LEFT JOIN attempt a ON a.run_id = t.run_id AND a.task_idx = t.idx
     WHERE r.project_id = ?1 GROUP BY t.run_id, t.idx
     HAVING count(a.id) <> t.attempts OR coalesce(max(a.number), 0) <> t.attempts",
    // Attempts.
    "SELECT 'attempt ' || a.id || ' is of a task that is not on record'
     FROM attempt a LEFT JOIN task t ON t.run_id = a.run_id AND t.idx = a.task_idx
     WHERE a.project_id = ?1 AND t.idx IS NULL",
    "SELECT 'attempt ' || a.id || ' is ' || a.state || ', but its task is ' || t.state || ' with another'
     FROM attempt a JOIN task t ON t.run_id = a.run_id AND t.idx = a.task_idx
     WHERE a.project_id = ?1 AND a.state IN ('assigned', 'running')
       AND NOT (t.state = 'assigned' AND t.attempt_id = a.id)",
    "SELECT 'attempt ' || a.id || ' has no derivation'
     FROM attempt a LEFT JOIN derivation d ON d.fingerprint = a.fingerprint
     WHERE a.project_id = ?1 AND a.kind <> 'reuse' AND d.fingerprint IS NULL",
    "SELECT 'attempt ' || a.id || ' ended without a known cause' FROM attempt a
     WHERE a.project_id = ?1 AND a.state IN ('succeeded', 'failed') AND coalesce(a.cause, '') NOT IN (
         'exit', 'signal', 'timeout', 'out_of_memory', 'cancelled', 'spawn', 'missing_output', 'require', 'no_space',
         'lost', 'internal')",
    "SELECT 'attempt ' || a.id || ' is reusable although it is ' || a.state || coalesce(' and tainted: ' || a.tainted, '')
     FROM attempt a WHERE a.project_id = ?1 AND a.reusable = 1 AND (a.state <> 'succeeded' OR a.tainted IS NOT NULL)",
    "SELECT 'attempt ' || a.id || ' takes over attempt ' || coalesce(a.reused_from, 'none') || ', which did no work'
     FROM attempt a LEFT JOIN attempt o ON o.id = a.reused_from
     WHERE a.project_id = ?1 AND (a.kind = 'reuse' OR a.reused_from IS NOT NULL)
       AND NOT coalesce(o.kind <> 'reuse' AND o.state = 'succeeded' AND a.kind = 'reuse', 0)",
    "SELECT 'attempt ' || f.attempt_id || ' holds a claim, but is ' || coalesce(a.state, 'not on record')
     FROM flight f LEFT JOIN attempt a ON a.id = f.attempt_id
     WHERE f.project_id = ?1 AND NOT coalesce(
         a.state IN ('assigned', 'running') AND a.fingerprint = f.fingerprint AND a.project_id = f.project_id, 0)",
    // Lineage.
    "SELECT 'attempt ' || a.id || ' read publication ' || c.mat_id || ', which is '
            || CASE WHEN m.id IS NULL THEN 'not on record' WHEN m.id >= a.id THEN 'younger' ELSE 'of another project' END
     FROM attempt a JOIN consumed c ON c.attempt_id = a.id LEFT JOIN materialization m ON m.id = c.mat_id
     LEFT JOIN attempt p ON p.id = m.attempt_id
     WHERE a.project_id = ?1 AND NOT coalesce(m.id < a.id AND p.project_id = a.project_id, 0)",
    "SELECT 'publication ' || c.mat_id || ' was read by attempt ' || c.attempt_id || ', which is not on record'
     FROM consumed c LEFT JOIN attempt a ON a.id = c.attempt_id WHERE a.id IS NULL AND ?1 IS NOT NULL",
    "SELECT 'publication ' || m.id || ' is of attempt ' || a.id || ', which is ' || a.state
            || CASE WHEN a.id >= m.id THEN ' and younger' ELSE '' END
     FROM attempt a JOIN materialization m ON m.attempt_id = a.id
     WHERE a.project_id = ?1 AND (a.state <> 'succeeded' OR a.id >= m.id)",
    "SELECT 'publication ' || m.id || ' is of attempt ' || m.attempt_id || ', which is not on record'
     FROM materialization m LEFT JOIN attempt a ON a.id = m.attempt_id WHERE a.id IS NULL AND ?1 IS NOT NULL",
    "SELECT 'publication ' || m.id || ' is of a version that is not on record'
     FROM attempt a JOIN materialization m ON m.attempt_id = a.id LEFT JOIN version v ON v.id = m.version_id
     LEFT JOIN dataset d ON d.id = v.dataset_id AND d.project_id = a.project_id
     WHERE a.project_id = ?1 AND d.id IS NULL",
    "SELECT 'the object of publication ' || m.id || ' is not on record'
     FROM run r JOIN attempt a ON a.run_id = r.id JOIN materialization m ON m.attempt_id = a.id
     JOIN version v ON v.id = m.version_id LEFT JOIN blob b ON b.store_marker = r.store_marker AND b.hash = v.hash
     WHERE r.project_id = ?1 AND b.hash IS NULL",
    "SELECT 'run #' || r.number || ' has objects in a content store that is not on record'
     FROM run r LEFT JOIN content_store c ON c.project_id = r.project_id AND c.marker = r.store_marker
     WHERE r.project_id = ?1 AND c.marker IS NULL",
    "SELECT 'dataset ' || d.name || ' has ' || count(v.id) || ' versions up to number ' || coalesce(max(v.number), 0)
     FROM dataset d LEFT JOIN version v ON v.dataset_id = d.id
     WHERE d.project_id = ?1 GROUP BY d.id HAVING count(v.id) = 0 OR count(v.id) <> max(v.number)",
    "SELECT 'version ' || v.number || ' of dataset ' || d.name || ' is not as old as any of its publications'
     FROM dataset d JOIN version v ON v.dataset_id = d.id LEFT JOIN materialization m ON m.version_id = v.id
     WHERE d.project_id = ?1 GROUP BY v.id HAVING NOT coalesce(max(m.created = v.created), 0)",
    "SELECT 'the latest of dataset ' || d.name || ' (' || h.subset || ') is publication ' || h.mat_id || ', which is '
            || CASE WHEN m.id IS NULL THEN 'not on record' WHEN a.tainted IS NOT NULL THEN 'tainted' ELSE 'of another' END
     FROM dataset d JOIN head h ON h.dataset_id = d.id LEFT JOIN materialization m ON m.id = h.mat_id
     LEFT JOIN version v ON v.id = m.version_id LEFT JOIN attempt a ON a.id = m.attempt_id
     WHERE d.project_id = ?1
       AND NOT coalesce(v.dataset_id = h.dataset_id AND m.subset = h.subset AND a.id IS NOT NULL AND a.tainted IS NULL, 0)",
    "SELECT DISTINCT 'dataset ' || d.name || ' (' || m.subset || ') has publications, but no latest one'
     FROM dataset d JOIN version v ON v.dataset_id = d.id JOIN materialization m ON m.version_id = v.id
     JOIN attempt a ON a.id = m.attempt_id LEFT JOIN head h ON h.dataset_id = d.id AND h.subset = m.subset
     WHERE d.project_id = ?1 AND a.tainted IS NULL AND h.mat_id IS NULL",
    // The log, and tags.
    "SELECT 'attempt ' || a.id || ' ended and ' || CASE WHEN l.idx IS NULL THEN 'will never be' ELSE 'is already' END
            || ' in the log'
     FROM attempt a LEFT JOIN log_leaf l ON l.attempt_id = a.id LEFT JOIN unlogged u ON u.attempt_id = a.id
     WHERE a.project_id = ?1 AND a.state IN ('succeeded', 'failed') AND (l.idx IS NULL) = (u.attempt_id IS NULL)",
    "SELECT 'attempt ' || a.id || ' is ' || a.state || ', and in the log'
     FROM attempt a LEFT JOIN log_leaf l ON l.attempt_id = a.id LEFT JOIN unlogged u ON u.attempt_id = a.id
     WHERE a.project_id = ?1 AND a.state NOT IN ('succeeded', 'failed')
       AND (l.idx IS NOT NULL OR u.attempt_id IS NOT NULL)",
    "SELECT 'tag ' || t.name || ' is of a dataset that is not on record'
     FROM tag t LEFT JOIN dataset d ON d.id = t.dataset_id WHERE d.id IS NULL AND ?1 IS NOT NULL",
    "SELECT 'tag ' || t.name || ' of dataset ' || d.name || ' has ' || count(m.rev) || ' moves up to number '
            || coalesce(max(m.rev), 0)
     FROM dataset d JOIN tag t ON t.dataset_id = d.id LEFT JOIN tag_move m ON m.tag_id = t.id
     WHERE d.project_id = ?1 GROUP BY t.id HAVING count(m.rev) = 0 OR count(m.rev) <> max(m.rev)",
    "SELECT 'tag ' || t.name || ' of dataset ' || d.name || ' leads to publication ' || g.mat_id || ', which is '
            || CASE WHEN m.id IS NULL THEN 'not on record' ELSE 'of another' END
     FROM dataset d JOIN tag t ON t.dataset_id = d.id JOIN tag_target g ON g.tag_id = t.id
     LEFT JOIN materialization m ON m.id = g.mat_id LEFT JOIN version v ON v.id = m.version_id
     WHERE d.project_id = ?1 AND v.dataset_id IS NOT d.id",
    "SELECT 'publication ' || g.mat_id || ' has a tag by move ' || g.rev || ', which is not on record'
     FROM tag_target g LEFT JOIN tag_move m ON m.tag_id = g.tag_id AND m.rev = g.rev
     LEFT JOIN tag t ON t.id = g.tag_id WHERE (m.rev IS NULL OR t.id IS NULL) AND ?1 IS NOT NULL",
    // Companions.
    "SELECT 'metric ' || m.name || ' is of attempt ' || m.attempt_id || ', which is not on record'
     FROM metric m LEFT JOIN attempt a ON a.id = m.attempt_id WHERE a.id IS NULL AND ?1 IS NOT NULL",
    "SELECT 'the counter of nodes is at ' || node || ', the newest is '
            || max(coalesce((SELECT max(id) FROM attempt), 0), coalesce((SELECT max(id) FROM materialization), 0))
     FROM counter WHERE ?1 IS NOT NULL
       AND node < max(coalesce((SELECT max(id) FROM attempt), 0), coalesce((SELECT max(id) FROM materialization), 0))",
    "SELECT 'the ids of events are counted up to ' || event || ', event ' || (SELECT max(id) FROM event) || ' is on record'
     FROM counter WHERE ?1 IS NOT NULL AND event < (SELECT max(id) FROM event)",
    "SELECT 'node ' || m.id || ' is an attempt and a publication' FROM materialization m JOIN attempt a ON a.id = m.id
     WHERE ?1 IS NOT NULL",
];

pub(super) fn check(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<String>> {
    let mut found = pages(tx)?;
    if !found.is_empty() {
        return Ok(found);
    }
    for rule in RULES.iter().chain(service::check::RULES) {
        let mut statement = tx.prepare(&format!("{rule} LIMIT {MOST_OF_A_KIND}"))?;
        let rows = statement.query_map([project], |row| row.get(0))?;
        found.extend(rows.collect::<rusqlite::Result<Vec<String>>>()?);
    }
    for run in runs::list(tx, project, &RunFilter::default())? {
        let tasks = tasks::list(tx, project, run.id)?;
        let events = events::after(tx, project, run.id, 0)?;
        found.extend(fold::differences(&run, &tasks, &events));
    }
    found.extend(service::check::check(tx, project)?);
    Ok(found)
}

/// Damage of the file itself. Where there is any, the rows cannot be trusted to tell more.
fn pages(tx: &Transaction<'_>) -> Outcome<Vec<String>> {
    let mut statement = tx.prepare(&format!("PRAGMA integrity_check({MOST_OF_A_KIND})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(found.into_iter().filter(|line| line != "ok").map(|line| format!("the database file: {line}")).collect())
}
