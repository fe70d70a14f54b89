//! A few threads for work that would hold loops up: hashing, reading sources, preparing folders. All runs of a process
//! share them.
//!
//! Whoever hands in a job waits for what it sends at its end. A job that panics sends nothing, so its alarm does: see
//! [`Alarm`]. (Where a panic ends the process, nobody waits any more.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// Tells somebody, when it is dropped by a panic, that what they wait for will not come.
pub(crate) struct Alarm<F: Fn()>(pub(crate) F);

impl<F: Fn()> Drop for Alarm<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

/// Threads that take jobs in order. Dropping it finishes what was taken on.
#[derive(Debug)]
pub(crate) struct Pool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn new(name: &str, threads: usize) -> std::io::Result<Self> {
        let (jobs, taken) = channel::<Job>();
        let taken = Arc::new(Mutex::new(taken));
        let threads = (0..threads.max(1))
            .map(|_| {
                let taken = Arc::clone(&taken);
                std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&taken))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// Takes a job on. `alarm` is called where it panics; the other jobs go on.
    pub(crate) fn run(&self, alarm: impl Fn() + Send + 'static, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.as_ref().expect("the queue is open until the pool is dropped");
        let job = Box::new(move || {
            let _alarm = Alarm(alarm);
            job();
        });
        // A send fails only where every thread is gone, and they go only with the pool.
        let _ = jobs.send(job);
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A job owns what it works on, so nothing half-done is seen by the next one. The panic has been reported.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_panics_is_told_of_and_the_others_are_done() {
        let (told, hears) = channel();
        let done = told.clone();
        let pool = Pool::new("test", 1).unwrap();
        pool.run(move || told.send("alarm").unwrap(), || panic!("as a test does"));
        assert_eq!(hears.recv().unwrap(), "alarm");
        pool.run(|| {}, move || done.send("done").unwrap());
        assert_eq!(hears.recv().unwrap(), "done");
    }

    #[test]
    fn dropping_a_pool_waits_for_what_was_taken_on() {
        let (done, hears) = channel();
        let pool = Pool::new("test", 1).unwrap();
        for job in 0..100 {
            let done = done.clone();
            pool.run(|| {}, move || done.send(job).unwrap());
        }
        drop((pool, done));
        assert_eq!(hears.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }
}
