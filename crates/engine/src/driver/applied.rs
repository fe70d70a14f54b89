//! What follows once changes are on record: processes start, waiting tasks look again, people are told.

use runstone_core::machine::Input;
use runstone_core::store::{Applied, PinSource};
use runstone_core::record::NodeId;
use runstone_exec::objects::Overwrite;

use super::{DriveError, Driver, Event, Note};
use crate::site;

impl Driver<'_> {
    pub(super) fn committed(&mut self, applied: Vec<Applied>) -> Result<(), DriveError> {
        let notes = self.under_way.take().expect("what is committed was under way");
        for (note, applied) in notes.into_iter().zip(applied) {
            self.follow(note, applied)?;
        }
        Ok(())
    }

    fn follow(&mut self, note: Note, applied: Applied) -> Result<(), DriveError> {
        match (note, applied) {
            (Note::Nothing | Note::Ended, Applied::Stale) => {
                return Err(DriveError::Overtaken { task: "(the run)".to_owned() });
            }
            (Note::Nothing | Note::Ended, _) => {}
            (
                Note::Assigned { task } | Note::Finished { task, .. } | Note::Settled { task, .. },
                Applied::Stale,
            ) => return Err(DriveError::Overtaken { task: self.label(task).name }),
            (Note::Assigned { task }, Applied::Busy(flight)) => {
                if let Some(live) = self.tasks[task].live.take() {
                    self.by_attempt.remove(&live.uuid);
                }
                self.held.insert(task, flight);
                self.release_own(task);
                self.inputs.push_back(Input::Held { task });
            }
            (Note::Assigned { task }, _) => self.inputs.push_back(Input::Assigned { task }),
            (Note::Finished { task, told, published }, applied) => {
                if published && let Applied::Published { materializations, .. } = applied {
                    self.name(task, &materializations);
                    self.place(task);
                }
                self.reporter.event(&told);
                self.release_own(task);
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
            }
        }
        Ok(())
    }

    /// The publications of a task are on record under these nodes.
    fn name(&mut self, task: usize, nodes: &[NodeId]) {
        let node = self.tasks[task].node;
        let Some(entry) = self.ledger.of_task_mut(node, task) else { return };
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

    /// Puts outputs where people look. Their record is the truth; a copy that cannot be placed is only warned of.
    fn place(&mut self, task: usize) {
        let Some(step) = self.step_of(task) else { return };
        let data = &self.tasks[task];
        let Some(entry) = self.ledger.of_task(data.node, task) else { return };
        let wanted: Vec<_> = step
            .outputs
            .iter()
            .filter_map(|(name, output)| Some((output.publish.clone()?, entry.output(name)?.clone())))
            .collect();
        for (place, published) in wanted {
            let dest = self.prepared.folder.join(&place);
            let (objects, sender) = (std::sync::Arc::clone(&self.site.objects), self.sender.clone());
            self.placing += 1;
            self.helpers.run(move || {
                let kind = site::object_kind(published.kind);
                let placed = objects
                    .restore(published.hash, kind, &dest, Overwrite::Replace)
                    .map_err(|error| format!("cannot publish to {}: {}", dest.display(), crate::text(&error)));
                // The loop waits for this, so somebody is there.
                let _ = sender.send(Event::Placed(placed));
            });
        }
    }
}
