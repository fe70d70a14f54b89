//! One submitted run, from its claim to the moment at which this scheduler has nothing more to do with it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use runstone_core::record::{RunEnvironment, RunState};
use runstone_core::service::record::{Claim, SchedulerRecord, SchedulerState};
use runstone_core::service::store::Claimed;
use runstone_core::store::{RunRef, Store, StoreError};
use tracing::{error, info, warn};

use super::log::LogReporter;
use super::watch::Looks;
use crate::begin::{Birth, RunError, RunOptions, begin};
use crate::clock;
use crate::crew::Crew;
use crate::driver::{Control, DriveError};
use crate::environment;
use crate::owner::{self, Holder};
use crate::project::Project;
use crate::recorder::RecordError;
use crate::resume::{Taken, go_on};
use crate::site::Site;
use crate::submit;

/// How long what git says about the project is taken to be true.
const GIT_AGE: Duration = Duration::from_secs(10);

/// So many schedulers that are gone are looked through for the holder of a lock.
const MANY: u32 = 1000;

/// What all runs of a scheduler share.
pub(super) struct Shop {
    pub(super) project: Project,
    pub(super) variables: HashMap<String, String>,
    pub(super) version: String,
    pub(super) crew: Crew,
    pub(super) store: Mutex<Box<dyn Store>>,
    /// By the folder of a pipeline.
    sites: Mutex<HashMap<PathBuf, Site>>,
    environment: Mutex<Option<(Instant, RunEnvironment)>>,
    /// When triggers were looked at.
    pub(super) looks: Mutex<Looks>,
}

/// What became of a run, as far as this scheduler is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driven {
    /// There is nothing left to do for anybody, or somebody else has it.
    Done,
    /// It was let go of, as asked.
    LetGo,
    /// Something went wrong that may go well later.
    Failed,
}

impl Shop {
    pub(super) fn new(
        project: Project,
        variables: HashMap<String, String>,
        version: String,
        crew: Crew,
        store: Box<dyn Store>,
    ) -> Self {
        Self {
            project,
            variables,
            version,
            crew,
            store: Mutex::new(store),
            sites: Mutex::default(),
            environment: Mutex::default(),
            looks: Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> Result<Box<dyn Store>, StoreError> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).reopen()
    }

    /// The site of the pipeline that a definition came from.
    pub(super) fn site(&self, definition_path: &str) -> Result<Site, RunError> {
        let folder = self.project.folder_of(definition_path);
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = sites.get(&folder) {
            return Ok(site.for_another_run());
        }
        let site = Site::open(self.project.clone(), &folder, self.variables.clone())
            .map_err(|error| RunError::Folder { folder: folder.display().to_string(), message: crate::text(&error) })?;
        sites.insert(folder, site.clone());
        Ok(site)
    }

    /// Where a run is driven; by whom is what the submission says.
    fn environment(&self, asked_by: &RunEnvironment) -> RunEnvironment {
        let mut known = self.environment.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.as_ref().filter(|(at, _)| at.elapsed() < GIT_AGE).map(|(_, found)| found.clone());
        let here = fresh.unwrap_or_else(|| {
            let found = environment::ask(self.project.root(), &self.variables, &self.version).wait();
            *known = Some((Instant::now(), found.clone()));
            found
        });
        if asked_by.user.is_empty() { here } else { RunEnvironment { user: asked_by.user.clone(), ..here } }
    }

    /// Begins a claimed run or goes on with it, drives it as far as it gets, and puts on record what became of the claim.
    /// `abandoned` is set where the lease is over: then nothing more is written.
    pub(super) fn drive(&self, claimed: &Claimed, abandoned: &AtomicBool, control: impl FnOnce(Control)) -> Driven {
        let (number, pipeline) = (claimed.submission.number, claimed.submission.pipeline.as_str());
        let result = self.store().map_err(RunError::from).and_then(|mut store| {
            let mut control = Some(control);
            let mut reach = |found| {
                if let Some(control) = control.take() {
                    control(found);
                }
            };
            let mut ended = self.attempt(store.as_mut(), claimed, &mut reach);
            if matches!(ended, Err(RunError::Busy(_))) && self.end_holder(store.as_mut(), claimed)? {
                ended = self.attempt(store.as_mut(), claimed, &mut reach);
            }
            if !abandoned.load(Ordering::Relaxed) {
                self.conclude(store.as_mut(), claimed, &ended)?;
            }
            ended
        });
        match result {
            Ok(_) => Driven::Done,
            Err(RunError::Drive(DriveError::LetGo)) => {
                info!(run = number, pipeline, "run let go of");
                Driven::LetGo
            }
            Err(RunError::Over(_)) => Driven::Done,
            Err(ref error) if is_lost(error) => {
                warn!(run = number, pipeline, "run taken over by another scheduler");
                Driven::Done
            }
            Err(ref error) if is_final(claimed, error) => {
                error!(run = number, pipeline, error = %crate::text(error), "run could not begin");
                Driven::Done
            }
            Err(error) => {
                warn!(run = number, pipeline, error = %crate::text(&error), "run could not be driven; it will be tried again");
                Driven::Failed
            }
        }
    }

    fn attempt(
        &self,
        store: &mut dyn Store,
        claimed: &Claimed,
        control: impl FnOnce(Control),
    ) -> Result<RunState, RunError> {
        let asked = &claimed.submission;
        let site = self.site(&asked.definition_path)?;
        let options = RunOptions { fail_fast: false, relock: false };
        let mut reporter = LogReporter { run: asked.number, pipeline: asked.pipeline.clone() };
        let summary = match claimed.owner {
            None => {
                let (prepared, wish) = submit::prepare(&site, store, asked)?;
                let options = RunOptions { fail_fast: wish.fail_fast, ..options };
                let birth = Birth {
                    run: asked.run,
                    trigger: asked.trigger.clone(),
                    number: asked.number,
                    claim: Some(claimed.claim),
                    environment: self.environment(&asked.environment),
                };
                begin(&site, prepared, store.reopen()?, &self.crew, options, birth, &mut reporter, control)?
            }
            Some(owner) => {
                let which = RunRef::Prefix(asked.run.to_string());
                let record = store.run(&which)?.ok_or(RunError::Over(asked.number))?;
                let mut taken = Taken::new(&site, store, &record, &self.crew)?;
                taken.is_told_of_cancel = true;
                go_on(&site, store.reopen()?, taken, owner, &self.crew, options, &mut reporter, control)?
            }
        };
        Ok(summary.state)
    }

    /// Somebody still holds the lock of the run's folder. Where that is a process whose scheduler was found dead, it was
    /// stopped or hangs; as long as it lives it could start a step, so it is ended. Anybody else is waited for.
    fn end_holder(&self, store: &mut dyn Store, claimed: &Claimed) -> Result<bool, StoreError> {
        let path = owner::lock_path(&self.project.run_dir(claimed.claim.run.0));
        let Some(holder) = Holder::of(&path) else { return Ok(false) };
        let (schedulers, place) = (store.schedulers(MANY)?, holder.place.to_string());
        let is_it = |one: &&SchedulerRecord| {
            (one.pid, one.pid_start, one.place.as_str()) == (holder.process.pid, holder.process.start, place.as_str())
        };
        let mut records = schedulers.iter().filter(is_it).peekable();
        let is_gone = records.peek().is_some() && records.all(|one| one.state == SchedulerState::Gone);
        let ended = is_gone && holder.end();
        let (run, pid) = (claimed.submission.number, holder.process.pid);
        if ended {
            warn!(run, pid, "the former owner of the run did not answer any more and was ended");
        } else {
            warn!(run, pid, "the former owner of the run is not proven dead; the run waits for it");
        }
        Ok(ended)
    }

    /// Puts on record what became of the claim.
    fn conclude(
        &self,
        store: &mut dyn Store,
        claimed: &Claimed,
        ended: &Result<RunState, RunError>,
    ) -> Result<(), StoreError> {
        let Err(error) = ended else { return Ok(()) };
        let claim: Claim = claimed.claim;
        if is_final(claimed, error) {
            store.fail_submission(claim, &crate::text(error), clock::now())?;
        } else if !is_lost(error) {
            store.release(claim, clock::now())?;
        }
        Ok(())
    }
}

/// Whether trying again would end the same way: what was asked for makes no sense.
fn is_final(claimed: &Claimed, error: &RunError) -> bool {
    claimed.owner.is_none()
        && matches!(
            error,
            RunError::Prepare(_)
                | RunError::Input(_)
                | RunError::ElsewhereStored(_)
                | RunError::GivenUp { .. }
                | RunError::Store(StoreError::Damaged(_))
        )
}

/// Whether somebody else owns the run by now.
fn is_lost(error: &RunError) -> bool {
    matches!(
        error,
        RunError::Store(StoreError::LostOwnership { .. })
            | RunError::Drive(
                DriveError::Overtaken { .. } | DriveError::Record(RecordError::Store(StoreError::LostOwnership { .. }))
            )
    )
}
