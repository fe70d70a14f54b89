//! Looks for what must not be on record of the service: what rows tell of each other is the oracle's business, what only a
//! database has is asked for here.

use runstone_core::service::oracle::{self, Snapshot};
use runstone_core::service::store::FireFilter;
use runstone_core::store::RunFilter;
use rusqlite::Transaction;

use super::super::{Outcome, attempts, runs};
use super::{backfills, clock, fires, pools, schedulers, schedules, submissions};

/// What must not be found: each statement gives one sentence a row. `?1` is the project.
pub(in super::super) const RULES: &[&str] = &[
    "SELECT 'project ' || name || ' has counted ' || runs || ' runs and has a submission #' || max(s.number)
     FROM project p JOIN submission s ON s.project_id = p.id WHERE p.id = ?1 GROUP BY p.id HAVING max(s.number) > p.runs",
    "SELECT 'project ' || p.name || ' has counted ' || schedule_rev || ' changes of schedules and has one of ' || max(c.rev)
     FROM project p JOIN schedule c ON c.project_id = p.id WHERE p.id = ?1 GROUP BY p.id HAVING max(c.rev) > p.schedule_rev",
    "SELECT 'submission #' || s.number || ' and another run have that number'
     FROM submission s JOIN run r ON r.project_id = s.project_id AND r.number = s.number
     WHERE s.project_id = ?1 AND r.id <> s.run_id",
    "SELECT 'submission #' || s.number || ' has no definition' FROM submission s LEFT JOIN definition d ON d.hash = s.definition
     WHERE s.project_id = ?1 AND d.hash IS NULL",
    "SELECT 'submission #' || s.number || ' is of a scheduler that is not on record'
     FROM submission s LEFT JOIN scheduler o ON o.id = s.scheduler_id
     WHERE s.project_id = ?1 AND s.scheduler_id IS NOT NULL AND o.id IS NULL",
    "SELECT 'submission #' || s.number || ' is of a backfill that is not on record'
     FROM submission s LEFT JOIN backfill b ON b.id = s.backfill_id
     WHERE s.project_id = ?1 AND s.backfill_id IS NOT NULL AND b.id IS NULL",
    "SELECT 'a backfill of ' || b.pipeline || ' has counted ' || b.next || ' submissions, on record are ' || count(s.run_id)
     FROM backfill b LEFT JOIN submission s ON s.backfill_id = b.id
     WHERE b.project_id = ?1 GROUP BY b.id HAVING count(s.run_id) <> b.next",
    "SELECT 'pipeline ' || p.name || ' has no definition' FROM pipeline p LEFT JOIN definition d ON d.hash = p.definition
     WHERE p.project_id = ?1 AND d.hash IS NULL",
    "SELECT 'schedule ' || c.name || ' is of pipeline ' || c.pipeline || ', which is not on record'
     FROM schedule c LEFT JOIN pipeline p ON p.project_id = c.project_id AND p.name = c.pipeline
     WHERE c.project_id = ?1 AND p.name IS NULL",
    "SELECT 'schedule ' || c.name || ' of ' || c.pipeline || ' has a fire of generation ' || f.generation || ' and is at '
            || c.generation
     FROM schedule c JOIN fire f ON f.schedule_id = c.id WHERE c.project_id = ?1 AND f.generation > c.generation",
    "SELECT 'a fire at ' || f.time || ' is of schedule ' || f.schedule_id || ', which is not on record'
     FROM fire f LEFT JOIN schedule c ON c.id = f.schedule_id WHERE c.id IS NULL AND ?1 IS NOT NULL",
    "SELECT 'a fire of schedule ' || c.name || ' at ' || f.time || ' is of a submission that is not on record'
     FROM schedule c JOIN fire f ON f.schedule_id = c.id LEFT JOIN submission s ON s.run_id = f.run_id
     WHERE c.project_id = ?1 AND f.run_id IS NOT NULL AND s.run_id IS NULL",
    "SELECT 'task ' || t.idx || ' of run #' || r.number || ' is ' || t.state || ' and stands in the line of pool ' || t.pool
     FROM task t JOIN run r ON r.id = t.run_id
     WHERE r.project_id = ?1 AND t.pool IS NOT NULL
       AND (t.state NOT IN ('waiting', 'retrying', 'assigned') OR t.pool_slots IS NULL OR t.pool_priority IS NULL
            OR t.pool_since IS NULL)",
    "SELECT 'attempt ' || a.id || ' holds slots of no pool, or none of pool ' || coalesce(a.pool, '?')
     FROM attempt a WHERE a.project_id = ?1 AND ((a.pool IS NULL) <> (a.slots IS NULL)
                                                 OR (a.pool IS NULL) <> (a.pool_priority IS NULL))",
];

/// What the oracle finds in the rows of the service and the runs they are about. What belongs to a run alone is looked at
/// elsewhere.
pub(in super::super) fn check(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<String>> {
    let snapshot = Snapshot {
        schedulers: schedulers::list(tx, project, u32::MAX, clock())?,
        schedules: schedules::list(tx, project, 0)?,
        fires: fires::list(tx, project, &FireFilter::default())?,
        submissions: submissions::all(tx, project)?,
        backfills: backfills::list(tx, project, false)?,
        pools: pools::list(tx, project)?,
        runs: runs::list(tx, project, &RunFilter::default())?,
        attempts: attempts::holding_slots(tx, project)?,
        ..Snapshot::default()
    };
    Ok(oracle::check(&snapshot).iter().map(ToString::to_string).collect())
}
