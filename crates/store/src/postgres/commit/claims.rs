//! Who is at work on what: claims are shared with other runs, and are locked before anything is decided on them.

use std::collections::{BTreeMap, HashMap};

use runstone_core::hash::Fingerprint;
use runstone_core::record::{NodeId, RunId};
use runstone_core::store::{Change, Flight};
use sqlx::postgres::{PgBindIterExt, PgRow};

use super::super::session::{Tx, TxError};
use super::super::value::{damaged, get, get_fingerprint};
use super::facts::{Facts, Run, with_nodes};

/// Who holds the claims that a batch is about.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Claims of other attempts, live now.
    pub(super) held: HashMap<Fingerprint, Flight>,
    /// Claims that were free: a row with this attempt's node stands for each until the batch is decided.
    pub(super) reserved: HashMap<Fingerprint, NodeId>,
}

impl Claims {
    /// Locks the rows of claims that the batch wants or gives back, in the order of fingerprints.
    pub(super) async fn lock(
        tx: &mut Tx<'_>,
        project: i64,
        changes: &[Change],
        (run, facts): (&Run, &Facts),
    ) -> Result<Self, TxError> {
        // The update changes nothing: it takes the lock of a row that is there, whoever put it there meanwhile.
        const LOCK: &str = "INSERT INTO flight (project_id, fingerprint, attempt_id) \
             SELECT $1, w.fingerprint, w.attempt FROM unnest($2::bytea[], $3::bigint[]) AS w(fingerprint, attempt) \
             ORDER BY w.fingerprint \
             ON CONFLICT (project_id, fingerprint) DO UPDATE SET attempt_id = flight.attempt_id \
             RETURNING fingerprint, attempt_id";
        let mut claims = Self::default();
        let (mut wanted, held) = wanted_and_held(changes, run, facts);
        if wanted.is_empty() {
            return Ok(claims);
        }
        let own = wanted.clone();
        wanted.extend(held);
        let query = tx
            .query(LOCK)
            .bind(project)
            .bind(wanted.keys().map(|fingerprint| fingerprint.as_bytes().as_slice()).bind_iter())
            .bind(wanted.values().map(|id| id.0).bind_iter());
        let mut others = Vec::new();
        for row in tx.rows(query).await? {
            let (fingerprint, holder) = (get_fingerprint(&row, "fingerprint")?, NodeId(get(&row, "attempt_id")?));
            if own.get(&fingerprint) == Some(&holder) {
                claims.reserved.insert(fingerprint, holder);
            } else if own.contains_key(&fingerprint) {
                others.push((fingerprint, holder));
            }
        }
        if !others.is_empty() {
            claims.load_holders(tx, &others).await?;
        }
        Ok(claims)
    }

    async fn load_holders(&mut self, tx: &mut Tx<'_>, holders: &[(Fingerprint, NodeId)]) -> Result<(), TxError> {
        const HOLDERS: &str = "SELECT a.id, a.uuid, a.run_id, a.fingerprint, r.number \
             FROM attempt a JOIN run r ON r.id = a.run_id WHERE a.id = ANY($1)";
        let query = tx.query(HOLDERS).bind(holders.iter().map(|(_, id)| id.0).bind_iter());
        for row in tx.rows(query).await? {
            let flight = flight(&row)?;
            self.held.insert(flight.fingerprint, flight);
        }
        match holders.iter().find(|(fingerprint, _)| !self.held.contains_key(fingerprint)) {
            Some((fingerprint, id)) => {
                Err(damaged(format!("attempt {} claims {fingerprint:?} and is not on record", id.0)))
            }
            None => Ok(()),
        }
    }
}

/// A row with `id`, `uuid`, `run_id`, `fingerprint` and the run's `number`.
pub(in super::super) fn flight(row: &PgRow) -> Result<Flight, TxError> {
    Ok(Flight {
        fingerprint: get_fingerprint(row, "fingerprint")?,
        attempt: NodeId(get(row, "id")?),
        uuid: get(row, "uuid")?,
        run: RunId(get(row, "run_id")?),
        run_number: get(row, "number")?,
    })
}

/// Which claims the attempts that `changes` finish hold, and which the attempts they start want, each with the node of
/// the first one that does.
fn wanted_and_held(
    changes: &[Change],
    run: &Run,
    facts: &Facts,
) -> (BTreeMap<Fingerprint, NodeId>, HashMap<Fingerprint, NodeId>) {
    let (mut wanted, mut held) = (BTreeMap::new(), HashMap::new());
    for (change, nodes) in with_nodes(changes, run) {
        match change {
            Change::Start(start) if start.claim => {
                wanted.entry(start.fingerprint).or_insert(NodeId(nodes[0]));
            }
            Change::Finish(finish) => {
                let attempt = facts.tasks.get(&finish.task).and_then(|task| task.attempt);
                held.extend(attempt.and_then(|attempt| Some((attempt.claim?, attempt.id))));
            }
            _ => {}
        }
    }
    (wanted, held)
}
