//! The loop that drives one run: the machine decides, the executor and the pools do, the recorder makes durable.
//!
//! ```text
//! events ──► inputs ──► machine ──► commands ──► changes ──► recorder ──► applied ──► inputs
//!   ▲                                   └──────► executor, pools ──────────────────────► events
//! ```
//!
//! Everything that happens arrives in one channel and is put in one order here. Nothing is shown to anyone, and no
//! process is started, before what it rests on is durable; the machine itself decides ahead of that, because the only
//! way a record can fail is that the run has a new owner, and then everything stops.

mod adopt;
mod applied;
mod live;
mod lookup;
mod obey;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use runstone_core::attempt::AttemptSpec;
use runstone_core::cell::{Cell, task_name};
use runstone_core::executor::{Executor, Report, SecretEnv, Stop};
use runstone_core::hash::Fingerprint;
use runstone_core::machine::{Failure, Input, Machine};
use runstone_core::record::{MaterializationRecord, RunId, RunState};
use runstone_core::spec::model::Step;
use runstone_core::store::{Applied, Change, Flight, Ownership, RunRef, Store, StoreError};
use runstone_core::time::{Timestamp, micros};
use runstone_exec::objects::Batch as Objects;
use uuid::Uuid;

use crate::clock::Steady;
use crate::collected::Notes;
use crate::crew::Crew;
use crate::derive::{Derived, Items};
use crate::facts::{StepFacts, StepPython};
use crate::failpoint;
use crate::judge::Judgement;
use crate::ledger::Ledger;
use crate::prepare::Prepared;
use crate::recorder::{Batch, RecordError, Recorder};
use crate::report::{Counts, Reporter, RunEvent, TaskLabel};
use crate::seal;
use crate::site::Site;
use crate::slots::{Demand, Slot};
use crate::source::ReadContent;

pub(crate) use live::{Live, PickUp};
pub(crate) use lookup::{is_complete, is_held, names_cell};

/// How often a request to end from another process is looked for.
const CANCEL_POLL: Duration = Duration::from_secs(1);
/// How often an attempt of another run is looked at, while tasks wait for it.
const FLIGHT_POLL: Duration = Duration::from_millis(100);
/// How often tasks that stand in the line of a pool ask again.
const POOL_POLL: Duration = Duration::from_millis(300);
/// So many of each line ask at once.
const POOL_ASKS: usize = 4;
/// How often outcomes of attempts on other machines are looked for.
const UNKNOWN_POLL: Duration = Duration::from_secs(2);
/// The longest the loop sleeps where nothing is due.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a watcher may redraw.
const REDRAW: Duration = Duration::from_millis(120);

/// Something that happened outside the loop.
#[derive(Debug)]
pub(crate) enum Event {
    /// From the executor.
    Report(Report),
    /// An attempt was judged.
    Judged { task: usize, attempt: Uuid, judgement: Box<Judgement> },
    /// An attempt of another, dead run was judged.
    Adopted { uuid: Uuid, judgement: Box<Judgement> },
    /// A source was read.
    Read { task: usize, content: Box<Result<ReadContent, Failure>> },
    /// A part of the machine is free for an attempt that waits for one.
    Slot { task: usize, attempt: Uuid, slot: Slot },
    /// A folder was prepared.
    Staged { task: usize, attempt: Uuid, staged: Box<Result<Staging, String>> },
    /// A Python environment was resolved.
    Python { step: usize, python: Box<Result<StepPython, String>> },
    /// A line about an environment being made.
    Building { name: String, line: String },
    /// A batch was made durable, or not.
    Committed(Result<Vec<Applied>, RecordError>),
    /// An output was put where people look, or not.
    Placed(Result<(), String>),
    /// Somebody wants the run to end.
    Stop(Stop),
    /// Another owner is to go on with the run.
    LetGo,
    /// A thread of this loop panicked: something that is waited for will not come.
    Panicked(&'static str),
}

/// What is needed to start an attempt.
#[derive(Debug)]
pub(crate) struct Staging {
    pub(crate) spec: AttemptSpec,
    pub(crate) secrets: SecretEnv,
}

/// A way to reach a run from outside its loop.
#[derive(Debug, Clone)]
pub struct Control(pub(crate) Sender<Event>);

impl Control {
    /// Asks for the end of the run. Later requests may be harder, never softer.
    pub fn stop(&self, how: Stop) {
        // After the end of the loop there is nothing left to stop.
        let _ = self.0.send(Event::Stop(how));
    }

    /// Ends the loop and leaves the run as it is: steps go on under their supervisors, and whoever owns the run next goes
    /// on with it.
    pub fn let_go(&self) {
        let _ = self.0.send(Event::LetGo);
    }
}

/// The run could not be driven to its end. What is on record stays true; `resume` goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The record could not be made.
    #[error("cannot record what happened")]
    Record(#[from] RecordError),
    /// The record could not be read.
    #[error("cannot read the record")]
    Store(#[from] StoreError),
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
    /// An attempt of an earlier owner cannot be watched, although it may be alive.
    #[error("cannot take over attempt {attempt}: {message}")]
    TakeOver {
        /// The attempt.
        attempt: Uuid,
        /// Why.
        message: String,
    },
    /// It was let go of, to be gone on with by somebody else.
    #[error("the run was handed over")]
    LetGo,
    /// A thread of the engine panicked, which is a mistake in Runstone.
    #[error("the {0} thread panicked")]
    Panicked(&'static str),
    /// The record does not agree with what this loop did: another process has written this run.
    #[error("task {task} was changed by another process")]
    Overtaken {
        /// The task.
        task: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its number.
    pub number: i64,
    /// Its identity.
    pub run: RunId,
    /// Its state.
    pub state: RunState,
    /// Why, for people.
    pub reason: Option<String>,
    /// How its tasks ended.
    pub counts: Counts,
}

/// What the loop knows about a task beside what the machine knows.
#[derive(Debug)]
pub(crate) struct TaskData {
    pub(crate) node: usize,
    pub(crate) cell: Cell,
    /// Its position on record.
    pub(crate) row: u32,
    pub(crate) derived: Option<Arc<Derived>>,
    pub(crate) live: Option<Live>,
    /// The earlier result that stands for it.
    pub(crate) hit: Option<Box<runstone_core::store::Earlier>>,
    /// What a source held.
    pub(crate) read: Option<Box<ReadContent>>,
}

impl TaskData {
    pub(crate) fn new(node: usize, cell: Cell, row: u32) -> Self {
        Self { node, cell, row, derived: None, live: None, hit: None, read: None }
    }
}

/// What to do once a change is on record.
#[derive(Debug)]
enum Note {
    Nothing,
    Assigned { task: usize },
    Finished { task: usize, told: Option<RunEvent>, published: bool },
    Settled { task: usize, told: Option<RunEvent> },
    Ended,
}

/// Everything a loop is made of.
pub(crate) struct Parts {
    pub(crate) site: Site,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) run: RunId,
    pub(crate) number: i64,
    pub(crate) owner: Ownership,
    pub(crate) folder: PathBuf,
    pub(crate) reader: Box<dyn Store>,
    pub(crate) writer: Box<dyn Store>,
    pub(crate) machine: Machine,
    pub(crate) tasks: Vec<TaskData>,
    pub(crate) ledger: Ledger,
    pub(crate) external: HashMap<(String, String), Vec<MaterializationRecord>>,
    /// Nodes whose items are on record from an earlier part of the run; their tasks are among `tasks`.
    pub(crate) expanded: HashSet<usize>,
    pub(crate) counts: Counts,
    pub(crate) next_row: u32,
    pub(crate) relock: bool,
    /// Somebody else looks for requests to end, for many runs at once.
    pub(crate) is_told_of_cancel: bool,
    pub(crate) executor: Box<dyn LocalLike>,
    pub(crate) crew: Crew,
    /// What owning the run's folder hangs on.
    pub(crate) lock: Arc<OwnedFd>,
    pub(crate) events: (Sender<Event>, Receiver<Event>),
}

/// An executor that can also take over attempts of a dead owner.
pub(crate) trait LocalLike: Executor {
    /// Waits for an attempt that somebody else started; its report comes like any other.
    fn adopt(
        &mut self,
        started: &runstone_exec::local::journal::Started,
        journal: &std::path::Path,
    ) -> Result<(), String>;
}

impl LocalLike for runstone_exec::local::LocalExecutor {
    fn adopt(
        &mut self,
        started: &runstone_exec::local::journal::Started,
        journal: &std::path::Path,
    ) -> Result<(), String> {
        Self::adopt(self, started, journal).map_err(|error| crate::text(&error))
    }
}

/// The loop. See the module.
pub(crate) struct Driver<'r> {
    site: Site,
    prepared: Arc<Prepared>,
    run: RunId,
    number: i64,
    owner: Ownership,
    folder: PathBuf,
    reader: Box<dyn Store>,
    recorder: Recorder,
    executor: Box<dyn LocalLike>,
    crew: Crew,
    lock: Arc<OwnedFd>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    machine: Machine,
    tasks: Vec<TaskData>,
    ledger: Ledger,
    external: HashMap<(String, String), Vec<MaterializationRecord>>,
    expanded: HashSet<usize>,
    items: HashMap<usize, Items>,
    facts: HashMap<usize, Arc<StepFacts>>,
    pythons: HashMap<usize, lookup::PythonState>,
    relock: bool,
    is_told_of_cancel: bool,
    inputs: VecDeque<Input>,
    opens: VecDeque<usize>,
    looks: Vec<usize>,
    outbox: Vec<(Change, Note)>,
    objects: Objects,
    notes: Arc<Notes>,
    under_way: Option<Vec<Note>>,
    by_attempt: HashMap<Uuid, usize>,
    /// By fingerprint: the task of this run that is at it, and those that wait for it.
    own_flights: HashMap<Fingerprint, lookup::OwnFlight>,
    held: HashMap<usize, Flight>,
    /// By pool: tasks that stand in its line, in the order in which they came.
    in_line: HashMap<String, BTreeSet<(u64, usize)>>,
    /// The places of tasks that stood in a line, for as long as they are not started.
    places: HashMap<usize, u64>,
    last_place: u64,
    next_pool_look: Instant,
    /// Tasks whose attempts are on other machines, and may be alive.
    unknown: Vec<usize>,
    next_unknown_look: Instant,
    /// Tasks whose claims have just been put on record.
    claimed: Vec<usize>,
    adoptions: HashMap<Uuid, adopt::Adoption>,
    orphans: HashMap<RunId, adopt::Orphan>,
    next_row: u32,
    clock: Steady,
    wake: Option<Timestamp>,
    next_flight_look: Instant,
    placing: usize,
    reporter: &'r mut dyn Reporter,
    counts: Counts,
    ended: Option<(RunState, Option<String>)>,
    end_recorded: bool,
    begun: Instant,
}

impl<'r> Driver<'r> {
    pub(crate) fn new(parts: Parts, reporter: &'r mut dyn Reporter) -> Result<Self, DriveError> {
        let (sender, events) = parts.events;
        let done = sender.clone();
        let objects = Arc::clone(&parts.site.objects);
        let alarm = |thread: &'static str| {
            let sender = sender.clone();
            // Without a loop there is nobody to tell, here and below.
            move || _ = sender.send(Event::Panicked(thread))
        };
        let done = move |result| _ = done.send(Event::Committed(result));
        let recorder = Recorder::start(parts.writer, objects, done, alarm("recorder"))?;
        let notes = Arc::new(Notes::open(&parts.folder)?);
        let by_attempt = parts
            .tasks
            .iter()
            .enumerate()
            .filter_map(|(index, task)| Some((task.live.as_ref()?.uuid, index)))
            .collect();
        Ok(Self {
            recorder,
            crew: parts.crew,
            lock: parts.lock,
            notes,
            sender,
            events,
            begun: Instant::now(),
            site: parts.site,
            prepared: parts.prepared,
            run: parts.run,
            number: parts.number,
            owner: parts.owner,
            folder: parts.folder,
            reader: parts.reader,
            executor: parts.executor,
            machine: parts.machine,
            tasks: parts.tasks,
            ledger: parts.ledger,
            external: parts.external,
            expanded: parts.expanded,
            counts: parts.counts,
            next_row: parts.next_row,
            relock: parts.relock,
            is_told_of_cancel: parts.is_told_of_cancel,
            items: HashMap::new(),
            facts: HashMap::new(),
            pythons: HashMap::new(),
            inputs: VecDeque::new(),
            opens: VecDeque::new(),
            looks: Vec::new(),
            outbox: Vec::new(),
            objects: Objects::default(),
            under_way: None,
            by_attempt,
            own_flights: HashMap::new(),
            held: HashMap::new(),
            in_line: HashMap::new(),
            places: HashMap::new(),
            last_place: 0,
            next_pool_look: Instant::now(),
            unknown: Vec::new(),
            next_unknown_look: Instant::now(),
            claimed: Vec::new(),
            adoptions: HashMap::new(),
            orphans: HashMap::new(),
            clock: Steady::start(),
            wake: None,
            next_flight_look: Instant::now(),
            placing: 0,
            reporter,
            ended: None,
            end_recorded: false,
        })
    }

    /// Drives the run to its end.
    pub(crate) fn drive(mut self) -> Result<Summary, DriveError> {
        let driven = self.turn();
        if driven.is_err() {
            // What the threads are at is of no use to anyone any more.
            self.site.stop.store(true, Ordering::Relaxed);
        }
        driven?;
        let (state, reason) = self.ended.take().expect("the loop ends with the run");
        let wall_us = micros(self.begun.elapsed());
        self.reporter.event(&RunEvent::RunEnded {
            number: self.number,
            state,
            reason: reason.clone(),
            counts: self.counts,
            wall_us,
        });
        // A scheduler does it for all of its runs.
        if !self.is_told_of_cancel
            && let Err(error) = seal::seal(&self.site.project, self.reader.as_mut())
        {
            let message = format!("the log was not brought up to date: {}", crate::text(&error));
            self.reporter.event(&RunEvent::Warning { message });
        }
        Ok(Summary { number: self.number, run: self.run, state, reason, counts: self.counts })
    }

    /// The loop itself.
    fn turn(&mut self) -> Result<(), DriveError> {
        for task in 0..self.tasks.len() {
            self.take_up(task)?;
            // An earlier owner may have been killed between the record and the copy.
            if self.is_latest(task)? {
                self.place(task);
            }
        }
        self.inputs.push_back(Input::Begin);
        let mut next_cancel_poll = Instant::now() + CANCEL_POLL;
        loop {
            self.advance()?;
            self.send_batch();
            if self.ended.is_some() && self.is_idle() {
                if self.end_recorded {
                    return Ok(());
                }
                self.record_end();
                self.send_batch();
            }
            match self.events.recv_timeout(self.patience(next_cancel_poll)) {
                Ok(event) => self.take(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the loop holds a sender itself"),
            }
            while let Ok(event) = self.events.try_recv() {
                self.take(event)?;
            }
            if self.wake.is_some_and(|at| at <= self.clock.now()) {
                self.wake = None;
                self.inputs.push_back(Input::Tick);
            }
            if !self.is_told_of_cancel && Instant::now() >= next_cancel_poll {
                next_cancel_poll = Instant::now() + CANCEL_POLL;
                self.look_for_cancel()?;
            }
            if !self.held.is_empty() && Instant::now() >= self.next_flight_look {
                self.look_for_flights()?;
                self.next_flight_look = Instant::now() + FLIGHT_POLL;
            }
            if !self.in_line.is_empty() && Instant::now() >= self.next_pool_look {
                self.ask_pools_again();
            }
            if !self.unknown.is_empty() && Instant::now() >= self.next_unknown_look {
                self.next_unknown_look = Instant::now() + UNKNOWN_POLL;
                self.look_for_unknown();
            }
            self.reporter.tick();
        }
    }

    /// Lets the first tasks in the lines of pools begin anew: they look the cache up first, and ask for their slots after.
    /// Those behind them would be refused as long as these wait.
    fn ask_pools_again(&mut self) {
        self.next_pool_look = Instant::now() + POOL_POLL;
        for line in self.in_line.values_mut() {
            for _ in 0..POOL_ASKS {
                let Some((_, task)) = line.pop_first() else { break };
                self.inputs.push_back(Input::Released { task });
            }
        }
        self.in_line.retain(|_, line| !line.is_empty());
    }

    /// Whether nothing is on its way to the record or to where people look.
    fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.outbox.is_empty() && self.placing == 0
    }

    /// Puts the end of the run on record. Where outputs may have to be placed, that waits until they are: nobody goes on
    /// with a run that is over.
    fn end_once_placed(&mut self) {
        let places = |step: &Step| step.outputs.values().any(|output| output.publish.is_some());
        if !self.prepared.pipeline.steps.values().any(places) {
            self.record_end();
        }
    }

    fn record_end(&mut self) {
        if let Some((state, reason)) = self.ended.clone() {
            self.end_recorded = true;
            self.record(Change::EndRun { state, reason }, Note::Ended);
        }
    }

    /// Feeds the machine until it has nothing more to say and no question is open.
    fn advance(&mut self) -> Result<(), DriveError> {
        loop {
            while let Some(input) = self.inputs.pop_front() {
                for command in self.machine.step(input, self.clock.now()) {
                    self.obey(command);
                }
            }
            if let Some(node) = self.opens.pop_front() {
                let verdict = self.verdict(node);
                self.inputs.push_back(Input::Opened { node, verdict });
            } else if self.looks.is_empty() {
                return Ok(());
            } else {
                self.answer_looks()?;
            }
        }
    }

    /// How long nothing needs to be looked at.
    fn patience(&self, next_cancel_poll: Instant) -> Duration {
        let mut patience = if self.reporter.redraws() { REDRAW } else { LONGEST_WAIT };
        if !self.is_told_of_cancel {
            patience = patience.min(next_cancel_poll.saturating_duration_since(Instant::now()));
        }
        if !self.unknown.is_empty() {
            patience = patience.min(self.next_unknown_look.saturating_duration_since(Instant::now()));
        }
        if let Some(at) = self.wake {
            patience = patience.min(Duration::from_micros(at.since(self.clock.now())));
        }
        if !self.held.is_empty() {
            patience = patience.min(self.next_flight_look.saturating_duration_since(Instant::now()));
        }
        if !self.in_line.is_empty() {
            patience = patience.min(self.next_pool_look.saturating_duration_since(Instant::now()));
        }
        patience
    }

    fn take(&mut self, event: Event) -> Result<(), DriveError> {
        match event {
            Event::Report(report) => self.reported(report),
            Event::Judged { task, attempt, judgement } => {
                if self.is_live(task, attempt) {
                    self.judged(task, judgement);
                }
            }
            Event::Adopted { uuid, judgement } => self.adopted(uuid, judgement),
            Event::Read { task, content } => self.was_read(task, *content)?,
            Event::Slot { task, attempt, slot } => {
                if self.is_live(task, attempt) {
                    self.slot_granted(task, slot);
                }
            }
            Event::Staged { task, attempt, staged } => {
                if self.is_live(task, attempt) {
                    self.staged(task, *staged);
                }
            }
            Event::Python { step, python } => self.python_resolved(step, *python),
            Event::Building { name, line } => {
                self.reporter.event(&RunEvent::EnvironmentBuilding { name, line });
            }
            Event::Committed(result) => self.committed(result?)?,
            Event::Placed(result) => {
                self.placing -= 1;
                if let Err(message) = result {
                    self.reporter.event(&RunEvent::Warning { message });
                }
            }
            Event::Stop(how) => self.stop(how),
            Event::LetGo => return Err(DriveError::LetGo),
            Event::Panicked(thread) => return Err(DriveError::Panicked(thread)),
        }
        Ok(())
    }

    /// Whether an event is about the attempt that is under way now, and no late news of an earlier one.
    fn is_live(&self, task: usize, attempt: Uuid) -> bool {
        self.tasks[task].live.as_ref().is_some_and(|live| live.uuid == attempt)
    }

    /// Has a thread do something slow, which tells the loop at its end.
    fn help(&self, job: impl FnOnce() + Send + 'static) {
        self.crew.helpers.run(self.alarm("helper"), job);
    }

    /// Has a thread look at what an attempt left. The run's folder stays owned until it is done.
    fn have_judged(&self, job: impl FnOnce() + Send + 'static) {
        let lock = Arc::clone(&self.lock);
        self.crew.judges.run(self.alarm("judge"), move || {
            job();
            drop(lock);
        });
    }

    fn alarm(&self, thread: &'static str) -> impl Fn() + Send + 'static {
        let sender = self.sender.clone();
        // Without a loop there is nobody to tell.
        move || _ = sender.send(Event::Panicked(thread))
    }

    /// What a task takes of the machine.
    fn demand(&self, task: usize) -> Demand {
        let node = self.machine.node_of(task);
        Demand { run: self.run, priority: self.prepared.pipeline.priority, cpu_milli: node.cpu_milli, mem: node.mem }
    }

    fn look_for_cancel(&mut self) -> Result<(), DriveError> {
        let run = self.reader.run(&RunRef::Prefix(self.run.to_string()))?;
        if let Some(cancel) = run.and_then(|run| run.cancel) {
            self.stop(if cancel == "now" { Stop::Now } else { Stop::Gracefully });
        }
        Ok(())
    }

    fn stop(&mut self, how: Stop) {
        self.site.stop.store(true, Ordering::Relaxed);
        self.inputs.push_back(Input::Stop(how));
    }

    /// Hands the changes that have come together to the recorder, unless it is still busy with the last ones.
    fn send_batch(&mut self) {
        if self.under_way.is_some() || self.outbox.is_empty() {
            return;
        }
        if self.end_recorded {
            failpoint::hit("before_end");
        }
        let (changes, notes) = std::mem::take(&mut self.outbox).into_iter().unzip();
        self.under_way = Some(notes);
        self.recorder.send(Batch { owner: self.owner, changes, objects: std::mem::take(&mut self.objects) });
    }

    fn record(&mut self, change: Change, note: Note) {
        self.outbox.push((change, note));
    }

    fn label(&self, task: usize) -> TaskLabel {
        let data = &self.tasks[task];
        let node = self.prepared.graph.label(&self.prepared.pipeline, data.node);
        TaskLabel { index: data.row, name: task_name(node, &data.cell.key()) }
    }
}
