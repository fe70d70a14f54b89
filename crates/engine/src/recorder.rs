//! The thread that makes things durable: first the objects, then the rows that name them.
//!
//! One batch is under way at a time; whatever happens meanwhile forms the next one. A wide graph so pays a part of a
//! commit for each task, and a chain one commit for each hop.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use runstone_core::store::{Applied, Change, Ownership, Store, StoreError};
use runstone_exec::objects::{Batch as Objects, ObjectError, ObjectStore};

use crate::clock;
use crate::failpoint;
use crate::pool::Alarm;

/// Changes that belong together, and the objects they name.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) owner: Ownership,
    pub(crate) changes: Vec<Change>,
    pub(crate) objects: Objects,
}

/// Why a batch could not be made durable. Nothing of it is on record then.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The objects could not be made durable.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The rows could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A handle on the thread.
#[derive(Debug)]
pub(crate) struct Recorder {
    batches: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// `done` is called on the thread with what became of each batch, `alarm` where the thread panics.
    pub(crate) fn start(
        mut store: Box<dyn Store>,
        objects: Arc<ObjectStore>,
        done: impl Fn(Result<Vec<Applied>, RecordError>) + Send + 'static,
        alarm: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (batches, incoming) = channel::<Batch>();
        let alarm = Alarm(alarm);
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            let _alarm = alarm;
            for batch in incoming {
                done(record(store.as_mut(), &objects, batch));
            }
        })?;
        Ok(Self { batches: Some(batches), thread: Some(thread) })
    }

    pub(crate) fn send(&self, batch: Batch) {
        let batches = self.batches.as_ref().expect("the queue is open until the recorder is dropped");
        // A send fails only where the thread is gone, which a panic there has reported by then.
        let _ = batches.send(batch);
    }
}

fn record(store: &mut dyn Store, objects: &ObjectStore, batch: Batch) -> Result<Vec<Applied>, RecordError> {
    objects.sync(batch.objects)?;
    failpoint::hit("before_commit");
    let applied = store.commit(batch.owner, clock::now(), &batch.changes)?;
    failpoint::hit("after_commit");
    Ok(applied)
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
