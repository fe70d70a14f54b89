//! Doing a recorded attempt again, in a place of its own and with exactly what is on record, and comparing what it makes
//! with what is on record. Nothing on record changes.
//!
//! ```text
//! record ──► closure ──► turns ──► recall ──► again ──► compare ──► verdict
//! ```
//!
//! The place is below the project's state and goes at the end. Code comes from kept objects, the environment from the kept
//! lock, inputs from the pins on record; of the files of the project as they are today nothing is read. What would be asked
//! must have the recorded fingerprint, or nothing is tried. Only secrets and the few variables that are passed on to every
//! step come from today.

mod again;
mod closure;
mod compare;
mod past;
mod pinned;
mod recall;
mod scratch;
mod turns;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};

use runstone_core::executor::Stop;
use runstone_core::record::{AttemptRecord, NodeId, RunId};
use runstone_core::reproduction::Reproduction;
use runstone_core::store::{Store, StoreError};
use runstone_exec::objects::ObjectError;
use uuid::Uuid;

use self::closure::{Link, closure};
use self::scratch::Scratch;
use self::turns::Turns;
use crate::begin::Bench;
use crate::crew::Crew;
use crate::driver::Event;
use crate::shelf::Aside;
use crate::site::Site;

pub use past::{PastReproduction, past};
pub use scratch::abandoned;

/// How to do it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Everything that the attempt rests on as well.
    pub deep: bool,
    /// The scratch place stays, for people to look at.
    pub keep: bool,
    /// Version of the binary, for the record.
    pub tool_version: String,
}

/// An attempt could not be done again, for a reason that says nothing about it.
#[derive(Debug, thiserror::Error)]
pub enum ReproduceError {
    /// The record cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such attempt.
    #[error("attempt {} is not on record", .0.0)]
    Unknown(NodeId),
    /// The scratch place cannot be made.
    #[error("cannot prepare {}", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Content cannot be read or written, other than by being gone.
    #[error("{0}")]
    Objects(String),
    /// The machine cannot start anything.
    #[error("{0}")]
    Executor(String),
    /// A verdict on record is not one that this version knows.
    #[error("the verdict {id} on record was written by another version of runstone and cannot be read")]
    Unreadable {
        /// Which.
        id: i64,
        /// Why.
        source: serde_json::Error,
    },
    /// Somebody asked for the end.
    #[error("it was stopped")]
    Stopped,
}

impl ReproduceError {
    fn folder(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Folder { path: path.to_owned(), source }
    }

    fn objects(error: &ObjectError) -> Self {
        Self::Objects(crate::text(error))
    }
}

/// What is going on, for whoever watches.
#[derive(Debug)]
pub enum Progress<'a> {
    /// So many attempts are to be done again.
    Planned(usize),
    /// One is begun.
    Started(&'a AttemptRecord),
    /// A line about an environment being made for it.
    Building(&'a AttemptRecord, &'a str),
    /// One is over; its folder, with outputs and logs, where that is kept.
    Ended(&'a AttemptRecord, &'a Reproduction, Option<&'a Path>),
}

/// A way to end it from outside.
#[derive(Debug, Clone)]
pub struct Control(Sender<Word>);

impl Control {
    /// Asks for the end. Later requests may be harder, never softer.
    pub fn stop(&self, how: Stop) {
        // At the end nobody hears it any more.
        let _ = self.0.send(Word::Stop(how));
    }
}

/// What threads and people say to the one that waits.
#[derive(Debug)]
enum Word {
    Started(NodeId),
    Building(NodeId, String),
    Ended(Box<Reproduction>, Option<PathBuf>),
    Failed(ReproduceError),
    /// A thread is at its end.
    Gone,
    Stop(Stop),
}

/// What all attempts that are done again have in common.
struct Session {
    id: RunId,
    site: Site,
    crew: Crew,
    scratch: Scratch,
    deep: bool,
    tool_version: String,
}

impl Session {
    fn is_stopped(&self) -> bool {
        self.site.stop.load(Ordering::Relaxed)
    }
}

/// Does the work behind an attempt again, compares, and gives what came of it. With `deep` everything it rests on comes first:
/// each attempt once, with the inputs on record, also where one before it came out otherwise. An input whose bytes are gone is the one that was just
/// made again, where that is identical. What does not need each other is done at once, as far as the crew has room. `tell`
/// hears what is going on, `control` receives the way to end it early.
///
/// # Errors
/// [`ReproduceError`]; that it cannot be done again, or comes out otherwise, is an answer and no error.
pub fn reproduce(
    site: &Site,
    store: &mut dyn Store,
    crew: &Crew,
    attempt: NodeId,
    options: &Options,
    tell: &mut dyn FnMut(&Progress<'_>),
    control: impl FnOnce(Control),
) -> Result<Vec<Reproduction>, ReproduceError> {
    let links = closure(store, attempt, options.deep)?;
    if links.is_empty() {
        return Err(ReproduceError::Unknown(attempt));
    }
    let scratch =
        Scratch::new(&site.project, options.keep).map_err(ReproduceError::folder(&site.project.scratch_dir()))?;
    let aside = Arc::new(Aside::new(scratch.folder().join("aside")));
    let session = Session {
        id: RunId(Uuid::now_v7()),
        site: Site { aside: Some(aside), ..site.for_another_run() },
        crew: crew.clone(),
        scratch,
        deep: options.deep,
        tool_version: options.tool_version.clone(),
    };
    let (sender, words) = channel();
    control(Control(sender.clone()));
    tell(&Progress::Planned(links.len()));
    let turns = Turns::new(links.iter().map(|(id, link)| (*id, &link.needs)));
    let mut all: BTreeMap<NodeId, Reproduction> = BTreeMap::new();
    let mut trouble = None;
    let count = links.len().min(usize::try_from(crew.limits.jobs).unwrap_or(usize::MAX)).max(1);
    let hands = (0..count).map(|_| Hand::new(&session, store)).collect::<Result<Vec<_>, _>>()?;
    let stops: Vec<Sender<Event>> = hands.iter().map(|hand| hand.bench.events.0.clone()).collect();
    std::thread::scope(|scope| {
        for hand in hands {
            let (session, links, turns, sender) = (&session, &links, &turns, sender.clone());
            scope.spawn(move || hand.work(session, links, turns, &sender));
        }
        let mut at_work = count;
        while at_work > 0 {
            match words.recv().expect("a sender is held here") {
                Word::Started(id) => tell(&Progress::Started(&links[&id].attempt)),
                Word::Building(id, line) => tell(&Progress::Building(&links[&id].attempt, &line)),
                Word::Ended(reproduction, kept) => {
                    tell(&Progress::Ended(&links[&reproduction.attempt].attempt, &reproduction, kept.as_deref()));
                    all.insert(reproduction.attempt, *reproduction);
                }
                Word::Failed(error) => {
                    turns.stop();
                    trouble.get_or_insert(error);
                }
                Word::Gone => at_work -= 1,
                Word::Stop(how) => {
                    session.site.stop.store(true, Ordering::Relaxed);
                    turns.stop();
                    // A thread that is gone needs no word.
                    stops.iter().for_each(|stop| _ = stop.send(Event::Stop(how)));
                }
            }
        }
    });
    match trouble {
        Some(error) => Err(error),
        None if session.is_stopped() => Err(ReproduceError::Stopped),
        None => Ok(all.into_values().collect()),
    }
}

/// A thread that does attempts again, one at a time, with an executor and a connection of its own.
struct Hand {
    bench: Bench,
    store: Box<dyn Store>,
}

impl Hand {
    fn new(session: &Session, store: &dyn Store) -> Result<Self, ReproduceError> {
        let folder = session.scratch.folder();
        let lock = session.scratch.lock().map_err(ReproduceError::folder(folder))?;
        let bench = Bench::with_lock(folder, lock.into(), &session.crew).map_err(ReproduceError::Executor)?;
        Ok(Self { bench, store: store.reopen()? })
    }

    fn work(mut self, session: &Session, links: &BTreeMap<NodeId, Link>, turns: &Turns, words: &Sender<Word>) {
        let _farewell = Farewell(words);
        // The one that waits hears everything before it goes.
        let say = |word: Word| _ = words.send(word);
        while let Some(turn) = turns.next() {
            let link = &links[&turn.attempt];
            say(Word::Started(turn.attempt));
            let room = session.scratch.room(turn.attempt);
            let mut tell = |line: &str| say(Word::Building(turn.attempt, line.to_owned()));
            match again::again(session, &mut self.bench, self.store.as_mut(), link, &room, &mut tell) {
                Ok(reproduction) => say(Word::Ended(Box::new(reproduction), room.kept())),
                Err(error) => return say(Word::Failed(error)),
            }
        }
    }
}

/// Says that a thread is at its end, also where that is a panic.
struct Farewell<'a>(&'a Sender<Word>);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Word::Gone);
    }
}
