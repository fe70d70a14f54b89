//! Threads that ask the record, one question after the other, and say what came of it.
//!
//! Each has a connection of its own, so that a slow question of one kind does not hold up another: above all not the
//! renewal of the lease.

use std::sync::mpsc::{Sender, channel};

use runstone_core::service::machine::{Ask, Input};
use runstone_core::store::{Result, Store};
use tracing::warn;

type Job = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// A thread with a connection. When it is dropped, the questions that were asked are still asked, and nobody waits: a
/// process that leaves does not hang on a database that does not answer.
#[derive(Debug)]
pub(super) struct Asker {
    jobs: Sender<Job>,
}

impl Asker {
    pub(super) fn start(name: &str, mut store: Box<dyn Store>) -> std::io::Result<Self> {
        let (jobs, taken) = channel::<Job>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in taken {
                job(store.as_mut());
            }
        })?;
        Ok(Self { jobs })
    }

    /// Has something asked; `answer` gets the input that follows from it.
    pub(super) fn ask(
        &self,
        ask: Ask,
        question: impl FnOnce(&mut dyn Store) -> Result<Input> + Send + 'static,
        answer: impl FnOnce(Input) + Send + 'static,
    ) {
        self.run(move |store| {
            answer(question(store).unwrap_or_else(|error| {
                warn!(question = ?ask, error = %crate::text(&error), "the record did not answer");
                Input::Failed(ask)
            }));
        });
    }

    pub(super) fn run(&self, job: impl FnOnce(&mut dyn Store) + Send + 'static) {
        // The thread ends only with this, or by a panic, which ends the process.
        let _ = self.jobs.send(Box::new(job));
    }
}
