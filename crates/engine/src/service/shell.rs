//! The loop of a scheduler: takes in what happened, asks the machine, and has done what it says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use runstone_core::executor::Stop;
use runstone_core::record::RunId;
use runstone_core::service::machine::{Ask, Command, Input, Look, Machine, Now, Settings};
use runstone_core::service::record::{FireDecision, FireVerdict, NewScheduler, SchedulerId};
use runstone_core::service::store::{Claimed, HighWater};
use runstone_core::store::{Store, StoreError};
use runstone_core::time::micros;
use runstone_exec::local::{Place, ProcessId};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::asks::Asker;
use super::pipelines::Folder;
use super::runs::{Driven, Shop};
use super::time::SharedTime;
use super::water::Mark;
use super::{Notices, ServeError, Service, ServiceControl, ServiceOptions, sweep, watch};
use crate::clock;
use crate::driver::Control;
use crate::environment;
use crate::owner;
use crate::prepare::Home;
use crate::project::config::Origin;

/// How many queued submissions of each pipeline are looked at.
const PER_PIPELINE: u32 = 64;
/// The pause after a run could not be driven; it doubles each time.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// The pause after a registration that failed; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a scheduler that lost its lease waits for the threads of its runs before it begins anew.
const SETTLING: Duration = Duration::from_secs(30);
/// How often the record is looked through for what must not be.
const SWEEP: Duration = Duration::from_secs(600);
/// How often what ended is brought into the log.
const SEAL: Duration = Duration::from_secs(30);
/// How often the rules of the project are applied, beginning soon after the start.
const CLEAN_UP: Duration = Duration::from_secs(86_400);
/// The service manager hears of the loop at least so often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Something that happened outside the loop.
#[derive(Debug)]
pub(super) enum Event {
    /// A question was answered, in this incarnation.
    Answer(u64, Input),
    /// The scheduler is on record, or not: when that was asked for, and the answer.
    Registered(u64, SchedulerId, u64, Result<(), StoreError>),
    /// How far the record has come.
    Water(u64, HighWater),
    /// A run can be reached.
    Reachable(u64, RunId, Control),
    /// A run's thread is done.
    Driven(u64, RunId, Driven),
    /// The folder was declared anew.
    Declared,
    /// Somebody wants the scheduler to leave.
    Stop,
    /// Somebody wants the folder to be looked at.
    Reload,
}

/// Runs a scheduler until it is asked to leave.
///
/// # Errors
/// [`ServeError`] where it could not go to work. What goes wrong later is logged and tried again.
pub fn serve(
    service: Service,
    notices: &mut dyn Notices,
    control: impl FnOnce(ServiceControl),
) -> Result<(), ServeError> {
    let (sender, events) = channel();
    control(ServiceControl(sender.clone()));
    let thread = |source| ServeError::Io { what: "start a thread".to_owned(), source };
    let (project, variables) = (service.project, service.variables);
    let version = service.options.version.clone();
    // Opened here so that a content store that cannot be used is said at once.
    let shop = Shop::new(project, variables, version, service.crew, service.runs);
    let site = shop.site("pipeline.yaml").map_err(|error| ServeError::Io {
        what: crate::text(&error),
        source: std::io::Error::other("the project's folders cannot be used"),
    })?;
    let mut store = service.store;
    let time = SharedTime::default();
    time.compare(store.as_mut())?;
    let mut mark = Mark::read(&shop.project);
    mark.check(store.high_water()?)?;
    store.declare_pools(&shop.project.config().pool_slots())?;
    let reload =
        watch_pipelines(&service.options, &shop, store.reopen()?, time.clone(), sender.clone()).map_err(thread)?;
    let askers = Askers {
        lease: Asker::start("lease", store.reopen()?).map_err(thread)?,
        fires: Asker::start("fires", store.reopen()?).map_err(thread)?,
        queue: Asker::start("queue", store.reopen()?).map_err(thread)?,
        claims: (0..service.options.claimers)
            .map(|_| Asker::start("claims", store.reopen()?).map_err(thread))
            .collect::<Result<_, ServeError>>()?,
        watch: Asker::start("watch", store.reopen()?).map_err(thread)?,
        sweep: Asker::start("sweep", store.reopen()?).map_err(thread)?,
        clean_up: match shop.project.config().retention.origin {
            Origin::Default => None,
            _ => Some(Asker::start("clean-up", store.reopen()?).map_err(thread)?),
        },
    };
    let marker = site.objects.marker();
    let mut shell = Shell {
        options: service.options,
        marker,
        shop: Arc::new(shop),
        time,
        mark,
        trouble: None,
        askers: Arc::new(askers),
        sender,
        events,
        incarnation: 0,
        reload,
        stops: 0,
        left: false,
    };
    while !shell.left {
        shell.incarnation += 1;
        if let Some(incarnation) = Incarnation::new(&mut shell, notices)? {
            incarnation.live(notices);
        }
    }
    notices.stopping();
    let trouble = shell.trouble.take();
    trouble.map_or(Ok(()), Err)
}

/// One connection for each kind of question.
struct Askers {
    lease: Asker,
    fires: Asker,
    queue: Asker,
    /// Several, because after the death of another scheduler there is much to be claimed at once.
    claims: Vec<Asker>,
    watch: Asker,
    sweep: Asker,
    /// Where rules are declared. Its jobs may take long.
    clean_up: Option<Asker>,
}

/// What outlives an incarnation.
struct Shell {
    options: ServiceOptions,
    marker: Uuid,
    shop: Arc<Shop>,
    time: SharedTime,
    mark: Mark,
    /// The database lost what it had committed.
    trouble: Option<ServeError>,
    askers: Arc<Askers>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    incarnation: u64,
    /// Has the folder looked at.
    reload: Sender<()>,
    /// How often somebody asked it to leave.
    stops: u32,
    left: bool,
}

impl Shell {
    /// Puts the scheduler on record, however long it takes: a database that goes away comes back. Only at the very start
    /// one that cannot be used is an error. Returns when it was asked for, or `None` where somebody asked it to leave.
    fn register(
        &mut self,
        scheduler: &NewScheduler,
        notices: &mut dyn Notices,
    ) -> Result<Option<(SchedulerId, u64)>, ServeError> {
        let this = self.incarnation;
        if self.stops > 0 {
            self.left = true;
            return Ok(None);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            // Each try is somebody new: whether the last one is on record is not known, and its lease runs out.
            let id = SchedulerId(Uuid::now_v7());
            let new = NewScheduler { id, ..scheduler.clone() };
            let (sender, asked) = (self.sender.clone(), clock::boot_micros());
            // Without a loop there is nobody to tell.
            self.askers
                .lease
                .run(move |store| _ = sender.send(Event::Registered(this, id, asked, store.register(&new))));
            let mut is_answered = false;
            while !is_answered {
                notices.alive();
                match self.events.recv_timeout(SIGN_OF_LIFE) {
                    Ok(Event::Registered(incarnation, id, asked, Ok(()))) if incarnation == this => {
                        return Ok(Some((id, asked)));
                    }
                    Ok(Event::Registered(incarnation, _, _, Err(error))) if incarnation == this => {
                        if this == 1 {
                            return Err(error.into());
                        }
                        warn!(error = %crate::text(&error), "cannot register; trying again");
                        is_answered = true;
                    }
                    Ok(Event::Stop) => {
                        self.stops += 1;
                        self.left = true;
                        return Ok(None);
                    }
                    // Late news of the last incarnation.
                    Ok(Event::Reachable(_, _, control)) => control.let_go(),
                    Ok(_) | Err(_) => {}
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A scheduler from its registration to the end of its lease.
struct Incarnation<'s> {
    shell: &'s mut Shell,
    machine: Machine,
    inputs: VecDeque<Input>,
    runs: HashMap<RunId, LiveRun>,
    /// Runs that could not be driven: not to be tried again before then.
    resting: Vec<(Instant, RunId)>,
    failures: HashMap<RunId, u32>,
    abandoned: Arc<AtomicBool>,
    id: SchedulerId,
    wake: Option<(u64, Option<runstone_core::time::Timestamp>)>,
    next_sweep: Instant,
    next_seal: Instant,
    next_clean_up: Instant,
    over: bool,
}

/// A run that a thread drives.
struct LiveRun {
    /// Known a moment after the thread has begun.
    control: Option<Control>,
    /// What was asked before that.
    pending: Vec<Order>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Stop(Stop),
    LetGo,
}

impl Order {
    fn give(self, control: &Control) {
        match self {
            Self::Stop(how) => control.stop(how),
            Self::LetGo => control.let_go(),
        }
    }
}

impl<'s> Incarnation<'s> {
    /// Registers. None where somebody asked it to leave before that.
    fn new(shell: &'s mut Shell, notices: &mut dyn Notices) -> Result<Option<Self>, ServeError> {
        let io = |source| ServeError::Io { what: "find out what process this is".to_owned(), source };
        let process =
            ProcessId::of(std::process::id()).ok_or_else(|| io(std::io::Error::other("/proc is not there")))?;
        let scheduler = NewScheduler {
            id: SchedulerId(Uuid::nil()),
            host: environment::host(),
            pid: process.pid,
            pid_start: process.start,
            place: Place::here().map_err(io)?.to_string(),
            version: shell.options.version.clone(),
            store_marker: shell.marker,
            capacity: shell.options.capacity,
            ttl_ms: micros(shell.options.ttl) / 1000,
        };
        let Some((id, asked)) = shell.register(&scheduler, notices)? else { return Ok(None) };
        info!(scheduler = %id.0, pid = process.pid, "at work");
        notices.ready(&format!("scheduler {} is at work", id.0));
        let ttl_us = micros(shell.options.ttl);
        let settings = Settings {
            id,
            project: shell.shop.project.id(),
            store_marker: shell.marker,
            capacity: shell.options.capacity,
            ttl_us,
            margin_us: ttl_us / 3,
            renew_us: ttl_us / 3,
            poll_us: micros(shell.options.poll),
            grace_us: 60_000_000,
            watch_us: micros(shell.options.poll).max(1_000_000),
        };
        let inputs = VecDeque::from([Input::Registered { asked }]);
        Ok(Some(Self {
            shell,
            machine: Machine::new(settings),
            inputs,
            runs: HashMap::new(),
            resting: Vec::new(),
            failures: HashMap::new(),
            abandoned: Arc::new(AtomicBool::new(false)),
            id,
            wake: None,
            next_sweep: Instant::now() + SWEEP / 10,
            next_seal: Instant::now(),
            next_clean_up: Instant::now() + SWEEP,
            over: false,
        }))
    }

    /// The loop itself.
    fn live(mut self, notices: &mut dyn Notices) {
        loop {
            while let Some(input) = self.inputs.pop_front().filter(|_| !self.over) {
                let now = Now { wall: self.shell.time.now(), steady: clock::boot_micros() };
                for command in self.machine.step(input, now) {
                    self.obey(command);
                }
            }
            if self.over {
                return self.settle(notices);
            }
            notices.alive();
            match self.shell.events.recv_timeout(self.patience()) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the loop holds a sender itself"),
            }
            while let Ok(event) = self.shell.events.try_recv() {
                self.take(event);
            }
            self.let_rested_go_on();
            if Instant::now() >= self.next_sweep {
                self.next_sweep = Instant::now() + SWEEP;
                self.shell.askers.sweep.run(sweep::look_after);
            }
            if Instant::now() >= self.next_seal {
                self.next_seal = Instant::now() + SEAL;
                let project = self.shell.shop.project.clone();
                self.shell.askers.sweep.run(move |store| sweep::seal(&project, store));
            }
            if Instant::now() >= self.next_clean_up {
                self.next_clean_up = Instant::now() + CLEAN_UP;
                if let Some(asker) = &self.shell.askers.clean_up {
                    let shop = Arc::clone(&self.shell.shop);
                    asker.run(move |store| sweep::clean_up(&shop.project, store));
                }
            }
            let due = self.wake.is_some_and(|(steady, wall)| {
                clock::boot_micros() >= steady || wall.is_some_and(|wall| self.shell.time.now() >= wall)
            });
            if due {
                self.wake = None;
                self.inputs.push_back(Input::Tick);
            }
        }
    }

    fn patience(&self) -> Duration {
        let mut patience = SIGN_OF_LIFE;
        if let Some((steady, wall)) = self.wake {
            patience = patience.min(Duration::from_micros(steady.saturating_sub(clock::boot_micros())));
            if let Some(wall) = wall {
                patience = patience.min(Duration::from_micros(wall.since(self.shell.time.now())));
            }
        }
        let rested = self.resting.iter().map(|(until, _)| until.saturating_duration_since(Instant::now())).min();
        patience.min(rested.unwrap_or(patience))
    }

    fn take(&mut self, event: Event) {
        let this = self.shell.incarnation;
        match event {
            Event::Answer(incarnation, input) if incarnation == this => self.inputs.push_back(input),
            Event::Water(incarnation, now) if incarnation == this => {
                if let Err(trouble) = self.shell.mark.check(now) {
                    error!(error = %trouble, "stopping; `runstone doctor --adopt-restore` accepts the record as it is");
                    self.shell.trouble = Some(trouble);
                    self.abandon();
                    self.shell.left = true;
                }
            }
            Event::Reachable(incarnation, run, control) if incarnation == this => {
                if let Some(live) = self.runs.get_mut(&run) {
                    live.pending.drain(..).for_each(|order| order.give(&control));
                    live.control = Some(control);
                }
            }
            Event::Driven(incarnation, run, driven) if incarnation == this => self.driven(run, driven),
            Event::Reachable(_, _, control) => control.let_go(),
            Event::Answer(..) | Event::Driven(..) | Event::Water(..) | Event::Registered(..) => {}
            Event::Declared => self.inputs.push_back(Input::Nudge),
            // Where the thread is gone, the scheduler is about to leave.
            Event::Reload => _ = self.shell.reload.send(()),
            Event::Stop => self.stop(),
        }
    }

    /// The first time runs are handed over, or waited for where that was asked; the second time they are handed over.
    fn stop(&mut self) {
        self.shell.stops += 1;
        info!(finish = self.shell.options.finish && self.shell.stops == 1, "asked to leave");
        if self.shell.stops > 1 {
            let runs: Vec<RunId> = self.runs.keys().copied().collect();
            runs.into_iter().for_each(|run| self.order(run, Order::LetGo));
        }
        self.inputs.push_back(Input::Drain);
    }

    fn driven(&mut self, run: RunId, driven: Driven) {
        if let Some(thread) = self.runs.remove(&run).and_then(|live| live.thread) {
            // It has sent its last word.
            let _ = thread.join();
        }
        if driven != Driven::Failed {
            self.failures.remove(&run);
            return self.inputs.push_back(Input::Ended { run });
        }
        let failures = self.failures.entry(run).or_default();
        let rest = (FIRST_REST * 2_u32.pow((*failures).min(6))).min(LONGEST_REST);
        *failures += 1;
        self.resting.push((Instant::now() + rest, run));
    }

    fn let_rested_go_on(&mut self) {
        let now = Instant::now();
        let is_leaving = self.shell.stops > 0;
        let inputs = &mut self.inputs;
        self.resting.retain(|(until, run)| {
            let rested = *until <= now || is_leaving;
            if rested {
                inputs.push_back(Input::Ended { run: *run });
            }
            !rested
        });
    }

    fn order(&mut self, run: RunId, order: Order) {
        let Some(live) = self.runs.get_mut(&run) else { return };
        match &live.control {
            Some(control) => order.give(control),
            None => live.pending.push(order),
        }
    }

    fn obey(&mut self, command: Command) {
        let askers = Arc::clone(&self.shell.askers);
        match command {
            Command::Renew { state } => {
                let (id, asked, time) = (self.id, clock::boot_micros(), self.shell.time.clone());
                self.ask(&askers.lease, Ask::Renew, move |store| {
                    Ok(Input::Renewed { asked, beat: store.beat(id, state)? })
                });
                // Nothing waits for this; what cannot be compared now is compared the next time.
                askers.sweep.run(move |store| _ = time.compare(store));
            }
            Command::LoadSchedules { after_rev } => {
                self.ask(&askers.fires, Ask::Schedules, move |store| Ok(Input::Schedules(store.schedules(after_rev)?)));
            }
            Command::ReloadSchedules(ids) => {
                self.ask(&askers.fires, Ask::Schedules, move |store| {
                    Ok(Input::Schedules(store.schedules_by_id(&ids)?))
                });
            }
            Command::Decide(decisions) => self.decide(&askers.fires, decisions),
            Command::Look => {
                let (sender, incarnation) = (self.shell.sender.clone(), self.shell.incarnation);
                self.ask(&askers.queue, Ask::Look, move |store| {
                    // Told first, so that nothing is decided on a record that lost something.
                    let _ = sender.send(Event::Water(incarnation, store.high_water()?));
                    Ok(Input::Looked(look(store)?))
                });
            }
            Command::Claim(run) => {
                let id = self.id;
                let claimer = usize::try_from(run.0.as_u64_pair().1).unwrap_or(0) % askers.claims.len().max(1);
                self.ask(&askers.claims[claimer], Ask::Claim(run), move |store| {
                    let claimed = store.claim(run, id, clock::now())?.map(Box::new);
                    Ok(Input::Claimed { run, claimed })
                });
            }
            Command::Bury(scheduler) => self.ask(&askers.queue, Ask::Bury(scheduler), move |store| {
                if store.bury(scheduler, true)? {
                    warn!(scheduler = %scheduler.0, "another scheduler is dead; its runs may be claimed");
                }
                Ok(Input::Buried { scheduler })
            }),
            Command::AdvanceBackfill(backfill) => self.ask(&askers.queue, Ask::Backfill(backfill), move |store| {
                let submitted = store.advance_backfill(backfill, clock::now())?;
                Ok(Input::Advanced { backfill, submitted })
            }),
            Command::Watch(triggers) => {
                let shop = Arc::clone(&self.shell.shop);
                self.ask(&askers.watch, Ask::Watch, move |store| {
                    Ok(Input::Watched(watch::look(store, &shop, &triggers)?))
                });
            }
            Command::Drive(claimed) => self.drive(*claimed),
            Command::Stop { run, how } => self.order(run, Order::Stop(how)),
            Command::HandOver(run) => {
                if !(self.shell.options.finish && self.shell.stops == 1) {
                    self.order(run, Order::LetGo);
                }
            }
            Command::Abandon => self.abandon(),
            Command::Leave => self.leave(),
            Command::Wake { steady, wall } => self.wake = Some((steady, wall)),
        }
    }

    fn ask(
        &self,
        asker: &Asker,
        ask: Ask,
        question: impl FnOnce(&mut dyn Store) -> runstone_core::store::Result<Input> + Send + 'static,
    ) {
        let (sender, incarnation) = (self.shell.sender.clone(), self.shell.incarnation);
        // Without a loop there is nobody to tell.
        asker.ask(ask, question, move |input| _ = sender.send(Event::Answer(incarnation, input)));
    }

    fn decide(&self, asker: &Asker, mut decisions: Vec<FireDecision>) {
        for decision in &mut decisions {
            if let FireVerdict::Submit { submission, .. } = &mut decision.verdict {
                submission.environment.host = environment::host();
                submission.environment.user = "schedule".to_owned();
            }
        }
        self.ask(asker, Ask::Decide, move |store| Ok(Input::Decided(store.decide_fires(&decisions, clock::now())?)));
    }

    fn drive(&mut self, claimed: Claimed) {
        let run = claimed.claim.run;
        let (shop, sender, abandoned) =
            (Arc::clone(&self.shell.shop), self.shell.sender.clone(), Arc::clone(&self.abandoned));
        let incarnation = self.shell.incarnation;
        debug!(run = claimed.submission.number, "claimed");
        let work = move || {
            let reach = sender.clone();
            let driven = shop.drive(&claimed, &abandoned, |control| {
                // Without a loop nobody wants to reach it.
                let _ = reach.send(Event::Reachable(incarnation, run, control));
            });
            let _ = sender.send(Event::Driven(incarnation, run, driven));
        };
        match std::thread::Builder::new().name("run".to_owned()).spawn(work) {
            Ok(thread) => {
                let live = LiveRun { control: None, pending: Vec::new(), thread: Some(thread) };
                self.runs.insert(run, live);
            }
            Err(error) => {
                error!(%error, "no thread for a run");
                self.driven(run, Driven::Failed);
            }
        }
    }

    /// The lease is over: others may have taken what was driven here.
    fn abandon(&mut self) {
        warn!("the lease is lost; letting go of all runs and beginning anew");
        self.abandoned.store(true, Ordering::Relaxed);
        let runs: Vec<RunId> = self.runs.keys().copied().collect();
        runs.into_iter().for_each(|run| self.order(run, Order::LetGo));
        self.over = true;
        // Somebody who asked it to leave is not kept waiting by a database that does not answer.
        self.shell.left = self.shell.stops > 0;
    }

    fn leave(&mut self) {
        let id = self.id;
        let (done, is_done) = channel();
        self.shell.askers.lease.run(move |store| {
            if let Err(error) = store.bury(id, false) {
                warn!(error = %crate::text(&error), "could not sign off; the lease will run out");
            }
            // Whoever waits may have given up.
            let _ = done.send(());
        });
        let _ = is_done.recv_timeout(SIGN_OF_LIFE);
        info!("left");
        (self.over, self.shell.left) = (true, true);
    }

    /// Waits for the threads of the runs that were let go of, so that the next incarnation finds their folders free.
    fn settle(mut self, notices: &mut dyn Notices) {
        let deadline = Instant::now() + SETTLING;
        while !self.runs.is_empty() && Instant::now() < deadline {
            notices.alive();
            let patience = deadline.saturating_duration_since(Instant::now()).min(SIGN_OF_LIFE);
            if let Ok(event) = self.shell.events.recv_timeout(patience) {
                self.take(event);
            }
        }
    }
}

fn look(store: &mut dyn Store) -> runstone_core::store::Result<Look> {
    Ok(Look {
        live: store.live_submissions(PER_PIPELINE)?,
        schedulers: store.schedulers(0)?,
        backfills: store.active_backfills()?,
        schedules_rev: store.schedules_rev()?,
    })
}

/// Starts the thread that looks at the folder of pipelines. A message has it look now; when the last sender is gone, it
/// ends by itself.
fn watch_pipelines(
    options: &ServiceOptions,
    shop: &Shop,
    mut store: Box<dyn Store>,
    time: SharedTime,
    sender: Sender<Event>,
) -> std::io::Result<Sender<()>> {
    let mut folder = Folder::new(options.pipelines.clone(), Home::of(&shop.project));
    let pause = options.reload;
    let (wake, woken) = channel::<()>();
    std::thread::Builder::new().name("pipelines".to_owned()).spawn(move || {
        loop {
            match folder.declare(store.as_mut(), time.now()) {
                Ok(None) => {}
                // Without a loop there is nobody to tell.
                Ok(Some(_)) => _ = sender.send(Event::Declared),
                Err(error) => warn!(error = %crate::text(&error), "the pipelines could not be put on record"),
            }
            if woken.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    })?;
    Ok(wake)
}

/// Takes the lock that keeps a second scheduler away from a project whose record allows one.
///
/// # Errors
/// A sentence that names the other one.
pub fn lock_out_others(project: &crate::project::Project) -> Result<std::fs::File, ServeError> {
    let path = project.state_dir().join("serve.lock");
    let io = |source| ServeError::Io { what: format!("lock {}", path.display()), source };
    match owner::lock_file(&path).map_err(io)? {
        Some(lock) => Ok(lock),
        None => {
            let pid = owner::Holder::of(&path).map_or_else(|| "unknown".to_owned(), |one| one.process.pid.to_string());
            Err(ServeError::Another { pid })
        }
    }
}
