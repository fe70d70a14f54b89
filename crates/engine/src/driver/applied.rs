//! What follows once changes are on record: processes start, waiting tasks look again, people are told.

use std::path::PathBuf;
use std::time::Instant;

use runstone_core::machine::Input;
use runstone_core::record::NodeId;
use runstone_core::store::{Applied, PinSource, VersionRef};

use super::{DriveError, Driver, Event, Note, POOL_POLL};
use crate::failpoint;
use crate::report::RunEvent;

impl Driver<'_> {
    pub(super) fn committed(&mut self, applied: Vec<Applied>) -> Result<(), DriveError> {
        let notes = self.under_way.take().expect("what is committed was under way");
        for (note, applied) in notes.into_iter().zip(applied) {
            self.follow(note, applied)?;
        }
        self.confirm()
    }

    /// Looks once more whether the tasks whose claims are on record by now still have to run. Until the claim another
    /// run could finish the same work unnoticed; from the claim on, none can begin it.
    fn confirm(&mut self) -> Result<(), DriveError> {
        let claimed = std::mem::take(&mut self.claimed);
        if claimed.is_empty() {
            return Ok(());
        }
        let fingerprints: Vec<_> = claimed.iter().map(|task| self.derived(*task).fingerprint).collect();
        let found = self.reader.lookup(&fingerprints)?;
        for (task, fingerprint) in claimed.into_iter().zip(fingerprints) {
            let superseded = found.get(&fingerprint).is_some_and(|hit| self.is_usable(task, hit));
            self.inputs.push_back(if superseded { Input::Superseded { task } } else { Input::Assigned { task } });
        }
        Ok(())
    }

    fn follow(&mut self, note: Note, applied: Applied) -> Result<(), DriveError> {
        match (note, applied) {
            (Note::Nothing | Note::Ended, Applied::Stale) => {
                return Err(DriveError::Overtaken { task: "(the run)".to_owned() });
            }
            (Note::Nothing | Note::Ended, _) => {}
            (Note::Assigned { task } | Note::Finished { task, .. } | Note::Settled { task, .. }, Applied::Stale) => {
                return Err(DriveError::Overtaken { task: self.label(task).name });
            }
            (Note::Assigned { task }, Applied::Busy(flight)) => {
                if let Some(live) = self.tasks[task].live.take() {
                    self.by_attempt.remove(&live.uuid);
                }
                self.held.insert(task, flight);
                self.release_own(task);
                self.inputs.push_back(Input::Held { task });
            }
            (Note::Assigned { task }, Applied::Full) => {
                if let Some(live) = self.tasks[task].live.take() {
                    self.by_attempt.remove(&live.uuid);
                }
                self.stand_in_line(task);
                self.release_own(task);
                self.inputs.push_back(Input::Held { task });
            }
            (Note::Assigned { task }, _) => {
                failpoint::hit("after_intent");
                if self.claims(task) {
                    self.claimed.push(task);
                } else {
                    self.inputs.push_back(Input::Assigned { task });
                }
            }
            (Note::Finished { task, told, published }, applied) => {
                if published && let Applied::Published { materializations, .. } = applied {
                    self.name(task, &materializations);
                    self.place(task);
                }
                if let Some(told) = told {
                    self.reporter.event(&told);
                }
                self.release_own(task);
                self.forget(task);
            }
            (Note::Settled { task, told }, applied) => {
                if let Applied::Published { materializations, .. } = applied {
                    self.name(task, &materializations);
                    self.place(task);
                }
                if let Some(told) = told {
                    self.reporter.event(&told);
                }
                self.release_own(task);
                self.forget(task);
            }
        }
        Ok(())
    }

    /// A task that was refused slots of a pool goes back to the place that it had in the line.
    fn stand_in_line(&mut self, task: usize) {
        let Some(pool) = self.step_of(task).and_then(|step| step.pool.as_ref()).map(ToString::to_string) else {
            return;
        };
        if self.in_line.is_empty() {
            self.next_pool_look = Instant::now() + POOL_POLL;
        }
        let last = &mut self.last_place;
        let place = *self.places.entry(task).or_insert_with(|| {
            *last += 1;
            *last
        });
        self.in_line.entry(pool).or_default().insert((place, task));
    }

    /// Lets go of what a settled task does not need any more, so that memory does not grow with what was done.
    fn forget(&mut self, task: usize) {
        // A slot of its pool may be free now.
        if self.places.remove(&task).is_some() {
            self.next_pool_look = Instant::now();
        }
        if self.machine.settled(task).is_some() {
            let data = &mut self.tasks[task];
            (data.derived, data.read, data.hit) = (None, None, None);
        }
    }

    /// The publications of a task are on record under these nodes.
    fn name(&mut self, task: usize, nodes: &[NodeId]) {
        let Some(entry) = self.ledger.of_task_mut(task) else { return };
        for (published, node) in entry.outputs.iter_mut().zip(nodes) {
            published.source = PinSource::Materialization(*node);
        }
    }

    /// Tasks of this run that wait for the same fingerprint look again.
    fn release_own(&mut self, task: usize) {
        let Some(derived) = &self.tasks[task].derived else { return };
        let fingerprint = derived.fingerprint;
        if self.own_flights.get(&fingerprint).is_some_and(|own| own.holder == task)
            && let Some(own) = self.own_flights.remove(&fingerprint)
        {
            self.inputs.extend(own.waiting.into_iter().map(|task| Input::Released { task }));
        }
    }

    /// Whether nobody has published anything newer than what a task of an earlier part of the run did: what people see is
    /// not to go back.
    pub(super) fn is_latest(&mut self, task: usize) -> Result<bool, DriveError> {
        let Some(step) = self.step_of(task).filter(|step| step.outputs.values().any(|output| output.publish.is_some()))
        else {
            return Ok(false);
        };
        let Some(entry) = self.ledger.of_task(task) else { return Ok(false) };
        let placed = step.outputs.iter().filter(|(_, output)| output.publish.is_some());
        let wanted: Vec<_> = placed
            .filter_map(|(name, _)| Some((self.prepared.pipeline.dataset(step, name), entry.output(name)?.hash)))
            .collect();
        for (dataset, hash) in wanted {
            let latest = self.reader.resolve(&dataset, &VersionRef::Latest)?;
            if !latest.is_empty() && !latest.iter().any(|one| one.hash == hash) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts outputs where people look, unless they are there. Their record is the truth; a copy that cannot be placed is
    /// only warned of.
    pub(super) fn place(&mut self, task: usize) {
        let Some(step) = self.step_of(task) else { return };
        let Some(entry) = self.ledger.of_task(task) else { return };
        let mut jobs = Vec::new();
        let mut warnings = Vec::new();
        for (name, output) in &step.outputs {
            let Some(place) = &output.publish else { continue };
            let dest: PathBuf = self.prepared.folder.join(place).components().collect();
            match entry.output(name) {
                Some(published) if published.tainted => {
                    warnings
                        .push(format!("{place} is left as it is: what `{}` made is tainted", self.label(task).name));
                }
                Some(published) => jobs.push((dest, published.clone())),
                None if dest.symlink_metadata().is_ok() => {
                    warnings.push(format!(
                        "{place} is not of this run: `{}` did not write `{name}`",
                        self.label(task).name
                    ));
                }
                None => {}
            }
        }
        for message in warnings {
            self.reporter.event(&RunEvent::Warning { message });
        }
        for (dest, published) in jobs {
            let (site, sender) = (self.site.clone(), self.sender.clone());
            self.placing += 1;
            self.help(move || {
                // The loop waits for this, so somebody is there.
                let _ = sender.send(Event::Placed(site.place(&dest, &published)));
            });
        }
    }
}
