//! Looks for what must not be, also where constraints forbid it: constraints can be dropped, and backups patched.
//!
//! Each question is one statement with two columns: how often it happened, and an example. Then the events of every run are
//! folded, and must tell what its rows say.

use runstone_core::store::RunFilter;

use super::session::{Tx, TxError};
use super::value::get;
use super::{events, runs, service, tasks};
use crate::fold;

/// What is wrong, and how to find it in project `$1`.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "runs that ended with tasks still open",
        "SELECT count(*), min('#' || r.number) FROM run r WHERE r.project_id = $1 AND r.state <> 'running' \
         AND EXISTS (SELECT FROM task t WHERE t.run_id = r.id AND t.state IN ('waiting', 'assigned', 'retrying'))",
    ),
    (
        "runs that ended with live attempts",
        "SELECT count(*), min('#' || r.number) FROM run r WHERE r.project_id = $1 AND r.state <> 'running' \
         AND EXISTS (SELECT FROM attempt a WHERE a.run_id = r.id AND a.state IN ('assigned', 'running'))",
    ),
    (
        "runs with a number that the project has not given out",
        "SELECT count(*), min('#' || r.number) FROM project p JOIN run r ON r.project_id = p.id \
         WHERE p.id = $1 AND r.number > p.runs",
    ),
    (
        "runs with gaps between the indices of their tasks",
        "SELECT count(*), min('#' || r.number) FROM run r \
         JOIN (SELECT run_id, count(*) AS tasks, max(idx) AS last FROM task GROUP BY run_id) t ON t.run_id = r.id \
         WHERE r.project_id = $1 AND t.tasks <> t.last + 1",
    ),
    (
        "runs without their definition or with an unknown content store",
        "SELECT count(*), min('#' || r.number) FROM run r WHERE r.project_id = $1 \
         AND NOT (EXISTS (SELECT FROM definition d WHERE d.hash = r.definition) \
             AND EXISTS (SELECT FROM content_store c WHERE c.project_id = r.project_id AND c.marker = r.store_marker))",
    ),
    (
        "tasks whose number of attempts is not what is on record",
        "SELECT count(*), min('#' || r.number || ' task ' || t.idx) FROM run r JOIN task t ON t.run_id = r.id \
         LEFT JOIN (SELECT run_id, task_idx, max(number) AS last, count(*) AS attempts FROM attempt GROUP BY run_id, task_idx) a \
             ON a.run_id = t.run_id AND a.task_idx = t.idx \
         WHERE r.project_id = $1 AND (t.attempts <> coalesce(a.attempts, 0) OR t.attempts <> coalesce(a.last, 0))",
    ),
    (
        "tasks whose attempt is not on record or does not fit their state",
        "SELECT count(*), min('#' || r.number || ' task ' || t.idx) FROM run r JOIN task t ON t.run_id = r.id \
         LEFT JOIN attempt a ON a.id = t.attempt_id \
         WHERE r.project_id = $1 AND CASE t.state \
             WHEN 'assigned' THEN a.state IS NULL OR a.run_id <> t.run_id OR a.state NOT IN ('assigned', 'running') \
             WHEN 'succeeded' THEN a.state IS DISTINCT FROM 'succeeded' OR a.run_id <> t.run_id \
             WHEN 'reused' THEN a.state IS DISTINCT FROM 'succeeded' \
             WHEN 'retrying' THEN a.state IS DISTINCT FROM 'failed' \
             ELSE (t.attempt_id IS NOT NULL AND a.id IS NULL) OR a.state IN ('assigned', 'running') END",
    ),
    (
        "live attempts that are not the last of their task",
        "SELECT count(*), min(a.id::text) FROM attempt a LEFT JOIN task t ON t.run_id = a.run_id AND t.idx = a.task_idx \
         WHERE a.project_id = $1 AND a.state IN ('assigned', 'running') \
         AND (t.attempt_id IS DISTINCT FROM a.id OR t.state <> 'assigned')",
    ),
    (
        "attempts of tasks that are not on record",
        "SELECT count(*), min(a.id::text) FROM attempt a WHERE a.project_id = $1 \
         AND NOT EXISTS (SELECT FROM task t WHERE t.run_id = a.run_id AND t.idx = a.task_idx)",
    ),
    (
        "attempts that ended without a known cause",
        "SELECT count(*), min(a.id::text) FROM attempt a WHERE a.project_id = $1 AND a.state IN ('succeeded', 'failed') \
         AND coalesce(a.cause, '') NOT IN ('exit', 'signal', 'timeout', 'out_of_memory', 'cancelled', 'spawn', \
             'missing_output', 'require', 'no_space', 'lost', 'internal')",
    ),
    (
        "attempts that may be reused although they failed or are tainted",
        "SELECT count(*), min(a.id::text) FROM attempt a WHERE a.project_id = $1 AND a.reusable \
         AND (a.state <> 'succeeded' OR a.tainted IS NOT NULL)",
    ),
    (
        "attempts without the derivation behind their fingerprint",
        "SELECT count(*), min(a.id::text) FROM attempt a WHERE a.project_id = $1 AND a.kind <> 'reuse' \
         AND NOT EXISTS (SELECT FROM derivation d WHERE d.fingerprint = a.fingerprint)",
    ),
    (
        "attempts that failed and published",
        "SELECT count(*), min(a.id::text) FROM attempt a WHERE a.project_id = $1 AND a.state <> 'succeeded' \
         AND EXISTS (SELECT FROM materialization m WHERE m.attempt_id = a.id)",
    ),
    (
        "claims of attempts that are over or not on record",
        "SELECT count(*), min(f.attempt_id::text) FROM flight f LEFT JOIN attempt a ON a.id = f.attempt_id \
         WHERE f.project_id = $1 AND (a.id IS NULL OR a.state NOT IN ('assigned', 'running') \
             OR a.fingerprint <> f.fingerprint OR a.project_id <> f.project_id)",
    ),
    (
        "edges against the order of ids",
        "SELECT count(*), min(c.attempt_id || ' read ' || c.mat_id) FROM consumed c JOIN attempt a ON a.id = c.attempt_id \
         WHERE a.project_id = $1 AND c.mat_id >= c.attempt_id",
    ),
    (
        "publications older than their attempt",
        "SELECT count(*), min(m.id::text) FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         WHERE a.project_id = $1 AND m.attempt_id >= m.id",
    ),
    (
        "versions that are not as old as any of their publications",
        "SELECT count(*), min(x.name) FROM ( \
             SELECT d.name || '@v' || v.number AS name FROM dataset d JOIN version v ON v.dataset_id = d.id \
             LEFT JOIN materialization m ON m.version_id = v.id WHERE d.project_id = $1 \
             GROUP BY d.name, v.number, v.created HAVING NOT coalesce(bool_or(m.created = v.created), false)) x",
    ),
    (
        "attempts that ended, and are in the log twice or will never be",
        "SELECT count(*), min(a.id::text) FROM attempt a LEFT JOIN log_leaf l ON l.attempt_id = a.id \
         LEFT JOIN unlogged u ON u.attempt_id = a.id \
         WHERE a.project_id = $1 AND a.state IN ('succeeded', 'failed') AND (l.idx IS NULL) = (u.attempt_id IS NULL)",
    ),
    (
        "attempts that are live, and in the log",
        "SELECT count(*), min(a.id::text) FROM attempt a LEFT JOIN log_leaf l ON l.attempt_id = a.id \
         LEFT JOIN unlogged u ON u.attempt_id = a.id \
         WHERE a.project_id = $1 AND a.state NOT IN ('succeeded', 'failed') \
           AND (l.idx IS NOT NULL OR u.attempt_id IS NOT NULL)",
    ),
    (
        "tags with gaps between their moves",
        "SELECT count(*), min(x.name) FROM ( \
             SELECT d.name || '@' || t.name AS name FROM dataset d JOIN tag t ON t.dataset_id = d.id \
             LEFT JOIN tag_move m ON m.tag_id = t.id WHERE d.project_id = $1 \
             GROUP BY d.name, t.name HAVING count(m.rev) = 0 OR count(m.rev) <> max(m.rev)) x",
    ),
    (
        "tags that lead to publications of other datasets",
        "SELECT count(*), min(d.name || '@' || t.name) FROM dataset d JOIN tag t ON t.dataset_id = d.id \
         JOIN tag_target g ON g.tag_id = t.id LEFT JOIN materialization m ON m.id = g.mat_id \
         LEFT JOIN version v ON v.id = m.version_id \
         WHERE d.project_id = $1 AND v.dataset_id IS DISTINCT FROM d.id",
    ),
    (
        "publications of attempts that are not on record, of any project",
        "SELECT count(*), min(m.id::text) FROM materialization m WHERE $1 IS NOT NULL \
         AND NOT EXISTS (SELECT FROM attempt a WHERE a.id = m.attempt_id)",
    ),
    (
        "readings by attempts that are not on record, of any project",
        "SELECT count(*), min(c.attempt_id || ' read ' || c.mat_id) FROM consumed c WHERE $1 IS NOT NULL \
         AND NOT EXISTS (SELECT FROM attempt a WHERE a.id = c.attempt_id)",
    ),
    (
        "metrics of attempts that are not on record, of any project",
        "SELECT count(*), min(m.attempt_id || ' ' || m.name) FROM metric m WHERE $1 IS NOT NULL \
         AND NOT EXISTS (SELECT FROM attempt a WHERE a.id = m.attempt_id)",
    ),
    (
        "events of runs that are not on record, of any project",
        "SELECT count(*), min(e.id::text) FROM event e WHERE $1 IS NOT NULL \
         AND NOT EXISTS (SELECT FROM run r WHERE r.id = e.run_id)",
    ),
    (
        "nodes that are an attempt and a publication, or newer than the sequence of nodes",
        "SELECT count(*), min(n.id::text) FROM ( \
             SELECT m.id FROM materialization m JOIN attempt a ON a.id = m.id UNION ALL \
             SELECT greatest((SELECT max(id) FROM attempt), (SELECT max(id) FROM materialization)) FROM node_id s \
             WHERE greatest((SELECT max(id) FROM attempt), (SELECT max(id) FROM materialization)) > s.last_value) n \
         WHERE $1 IS NOT NULL",
    ),
    (
        "edges to publications that are not on record in the project",
        "SELECT count(*), min(c.attempt_id || ' read ' || c.mat_id) FROM consumed c JOIN attempt a ON a.id = c.attempt_id \
         WHERE a.project_id = $1 AND NOT EXISTS (SELECT FROM materialization m JOIN attempt p ON p.id = m.attempt_id \
             WHERE m.id = c.mat_id AND p.project_id = a.project_id)",
    ),
    (
        "publications without their version in the project",
        "SELECT count(*), min(m.id::text) FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         WHERE a.project_id = $1 AND NOT EXISTS (SELECT FROM version v JOIN dataset d ON d.id = v.dataset_id \
             WHERE v.id = m.version_id AND d.project_id = a.project_id)",
    ),
    (
        "publications whose object is not on record",
        "SELECT count(*), min(m.id::text) FROM materialization m JOIN attempt a ON a.id = m.attempt_id \
         JOIN run r ON r.id = a.run_id JOIN version v ON v.id = m.version_id WHERE a.project_id = $1 \
         AND NOT EXISTS (SELECT FROM blob b WHERE b.store_marker = r.store_marker AND b.hash = v.hash)",
    ),
    (
        "datasets without versions or with gaps between their numbers",
        "SELECT count(*), min(d.name) FROM dataset d \
         LEFT JOIN (SELECT dataset_id, count(*) AS versions, max(number) AS newest FROM version GROUP BY dataset_id) v \
             ON v.dataset_id = d.id \
         WHERE d.project_id = $1 AND (v.versions IS NULL OR d.versions <> v.versions OR d.versions <> v.newest)",
    ),
    (
        "heads that name a publication of another dataset, of another cell, or a tainted one",
        "SELECT count(*), min(d.name) FROM head h JOIN dataset d ON d.id = h.dataset_id \
         LEFT JOIN materialization m ON m.id = h.mat_id LEFT JOIN version v ON v.id = m.version_id \
         LEFT JOIN attempt a ON a.id = m.attempt_id \
         WHERE d.project_id = $1 AND (v.dataset_id IS DISTINCT FROM h.dataset_id OR m.subset IS DISTINCT FROM h.subset \
             OR a.tainted IS NOT NULL)",
    ),
    (
        "datasets with a cell that has publications but no latest one",
        "SELECT count(*), min(d.name || ' (' || m.subset || ')') FROM dataset d JOIN version v ON v.dataset_id = d.id \
         JOIN materialization m ON m.version_id = v.id JOIN attempt a ON a.id = m.attempt_id AND a.tainted IS NULL \
         WHERE d.project_id = $1 AND NOT EXISTS ( \
             SELECT FROM head h WHERE h.dataset_id = d.id AND h.subset = m.subset)",
    ),
    (
        "reuses of attempts that did no work",
        "SELECT count(*), min(a.id::text) FROM attempt a WHERE a.project_id = $1 \
         AND (a.kind = 'reuse') <> EXISTS ( \
             SELECT FROM attempt o WHERE o.id = a.reused_from AND o.kind <> 'reuse' AND o.state = 'succeeded')",
    ),
];

/// One sentence for each kind of finding, and for each difference between events and rows.
pub(super) async fn check(tx: &mut Tx<'_>, project: i64) -> Result<Vec<String>, TxError> {
    let mut findings = Vec::new();
    for (what, sql) in QUESTIONS.iter().chain(service::check::QUESTIONS) {
        let query = tx.query(sql).bind(project);
        if let Some(row) = tx.row(query).await? {
            let (count, example): (i64, Option<String>) = (get(&row, "count")?, get(&row, "min")?);
            if count > 0 {
                findings.push(format!("{count} {what}, such as {}", example.unwrap_or_default()));
            }
        }
    }
    for run in runs::list(tx, project, &RunFilter::default()).await? {
        let tasks = tasks::list(tx, project, run.id).await?;
        let events = events::after(tx, project, run.id, 0).await?;
        findings.extend(fold::differences(&run, &tasks, &events));
    }
    findings.extend(service::check::check(tx, project).await?);
    Ok(findings)
}
