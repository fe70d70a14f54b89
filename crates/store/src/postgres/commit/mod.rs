//! One batch of changes of a run, in one transaction and a dozen statements whatever its size: take the run's lock, load
//! what the changes look at, decide them in memory, write what came of it.
//!
//! Order of locks, the same in every batch: run, pools by name, claims by fingerprint, derivations by fingerprint, datasets
//! by name when made, datasets by id, objects by hash, the run's submission. Two runs can wait for each other's rows, but
//! never in a circle. What else is locked with a run or a submission (see `service`) is locked before the run, and
//! whoever holds a submission wants nothing of what is between; a pool is locked by nobody else but those who declare
//! it, and they want nothing after it.

mod batch;
mod claims;
mod decide;
mod facts;
mod line;
mod publish;
mod write;

use runstone_core::store::{Applied, Change, Ownership};
use runstone_core::time::Timestamp;
use uuid::Uuid;

use super::session::{Outcome, Tx, TxError};
use claims::Claims;
use facts::{Facts, Scope};
use line::Lines;
use write::Writing;

pub(super) use claims::flight;
pub(super) use publish::DatasetIds;

/// What became of each change, and the datasets met on the way.
pub(super) type Committed = (Vec<Applied>, DatasetIds);

/// Applies a batch. `token` is its own: where the run carries it already, the batch was applied before.
pub(super) async fn commit(
    tx: &mut Tx<'_>,
    project: i64,
    (owner, token): (Ownership, Uuid),
    now: Timestamp,
    changes: &[Change],
    datasets: &DatasetIds,
) -> Result<Outcome<Committed>, TxError> {
    let scope = Scope::of(changes);
    let Some(run) = facts::own(tx, project, owner, token, &scope).await? else {
        return Ok(Outcome::AlreadyApplied);
    };
    let facts = Facts::load(tx, project, &run, &scope).await?;
    let lines = Lines::lock(tx, project, changes).await?;
    let claims = Claims::lock(tx, project, changes, (&run, &facts)).await?;
    let (applied, batch) = decide::decide(changes, (&run, now), facts, claims, lines);
    let mut writing = Writing { tx, project, run: &run, now };
    writing.intents(&batch).await?;
    let datasets = writing.publish(&batch, datasets).await?;
    writing.results(&batch).await?;
    Ok(Outcome::Fresh((applied, datasets)))
}
