//! Looks for what must not be on record of the service: what rows tell of each other is the oracle's business, what only a
//! database has is asked for here.

use runstone_core::service::oracle::{self, Snapshot};
use runstone_core::service::store::FireFilter;
use runstone_core::store::RunFilter;

use super::super::session::{Tx, TxResult};
use super::super::{attempts, runs};
use super::{backfills, fires, pools, schedulers, schedules, submissions};

/// What is wrong, and how to find it in project `$1`: how often it happened, and an example.
pub(in super::super) const QUESTIONS: &[(&str, &str)] = &[
    (
        "submissions with a number that the project has not given out",
        "SELECT count(*), min('#' || s.number) FROM project p JOIN submission s ON s.project_id = p.id \
         WHERE p.id = $1 AND s.number > p.runs",
    ),
    (
        "schedules with a revision that the project has not given out",
        "SELECT count(*), min(c.pipeline || '/' || c.name) FROM project p JOIN schedule c ON c.project_id = p.id \
         WHERE p.id = $1 AND c.rev > p.schedule_rev",
    ),
    (
        "submissions whose number another run has",
        "SELECT count(*), min('#' || s.number) FROM submission s \
         JOIN run r ON r.project_id = s.project_id AND r.number = s.number WHERE s.project_id = $1 AND r.id <> s.run_id",
    ),
    (
        "submissions without their definition",
        "SELECT count(*), min('#' || s.number) FROM submission s WHERE s.project_id = $1 \
         AND NOT EXISTS (SELECT FROM definition d WHERE d.hash = s.definition)",
    ),
    (
        "submissions of schedulers that are not on record",
        "SELECT count(*), min('#' || s.number) FROM submission s WHERE s.project_id = $1 AND s.scheduler_id IS NOT NULL \
         AND NOT EXISTS (SELECT FROM scheduler o WHERE o.id = s.scheduler_id)",
    ),
    (
        "submissions of backfills that are not on record",
        "SELECT count(*), min('#' || s.number) FROM submission s WHERE s.project_id = $1 AND s.backfill_id IS NOT NULL \
         AND NOT EXISTS (SELECT FROM backfill b WHERE b.id = s.backfill_id)",
    ),
    (
        "backfills that have counted other submissions than are on record",
        "SELECT count(*), min(b.pipeline || ' ' || b.id) FROM backfill b WHERE b.project_id = $1 \
         AND b.next <> (SELECT count(*) FROM submission s WHERE s.backfill_id = b.id)",
    ),
    (
        "pipelines without their definition",
        "SELECT count(*), min(p.name) FROM pipeline p WHERE p.project_id = $1 \
         AND NOT EXISTS (SELECT FROM definition d WHERE d.hash = p.definition)",
    ),
    (
        "schedules of pipelines that are not on record",
        "SELECT count(*), min(c.pipeline || '/' || c.name) FROM schedule c WHERE c.project_id = $1 \
         AND NOT EXISTS (SELECT FROM pipeline p WHERE p.project_id = c.project_id AND p.name = c.pipeline)",
    ),
    (
        "fires of a generation that their schedule has not reached",
        "SELECT count(*), min(c.pipeline || '/' || c.name) FROM schedule c JOIN fire f ON f.schedule_id = c.id \
         WHERE c.project_id = $1 AND f.generation > c.generation",
    ),
    (
        "fires of schedules that are not on record, of any project",
        "SELECT count(*), min(f.schedule_id::text) FROM fire f WHERE $1 IS NOT NULL \
         AND NOT EXISTS (SELECT FROM schedule c WHERE c.id = f.schedule_id)",
    ),
    (
        "fires of submissions that are not on record",
        "SELECT count(*), min(c.pipeline || '/' || c.name || ' at ' || f.time) FROM schedule c \
         JOIN fire f ON f.schedule_id = c.id WHERE c.project_id = $1 AND f.run_id IS NOT NULL \
         AND NOT EXISTS (SELECT FROM submission s WHERE s.run_id = f.run_id)",
    ),
    (
        "tasks that stand in the line of a pool and are decided, or ask for nothing",
        "SELECT count(*), min('#' || r.number || ' task ' || t.idx) FROM run r JOIN task t ON t.run_id = r.id \
         WHERE r.project_id = $1 AND t.pool IS NOT NULL AND (t.state NOT IN ('waiting', 'retrying', 'assigned') \
             OR t.pool_slots IS NULL OR t.pool_priority IS NULL OR t.pool_since IS NULL)",
    ),
    (
        "attempts that hold slots of no pool, or none of one",
        "SELECT count(*), min(a.id::text) FROM attempt a WHERE a.project_id = $1 \
         AND ((a.pool IS NULL) <> (a.slots IS NULL) OR (a.pool IS NULL) <> (a.pool_priority IS NULL))",
    ),
];

/// What the oracle finds in the rows of the service and the runs they are about. What belongs to a run alone is looked at
/// elsewhere.
pub(in super::super) async fn check(tx: &mut Tx<'_>, project: i64) -> TxResult<Vec<String>> {
    let snapshot = Snapshot {
        schedulers: schedulers::list(tx, project, u32::MAX).await?,
        schedules: schedules::list(tx, project, 0).await?,
        fires: fires::list(tx, project, &FireFilter::default()).await?,
        submissions: submissions::all(tx, project).await?,
        backfills: backfills::list(tx, project, false).await?,
        pools: pools::list(tx, project).await?,
        runs: runs::list(tx, project, &RunFilter::default()).await?,
        attempts: attempts::holding_slots(tx, project).await?,
        ..Snapshot::default()
    };
    Ok(oracle::check(&snapshot).iter().map(ToString::to_string).collect())
}
