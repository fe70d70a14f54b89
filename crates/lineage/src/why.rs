//! Why an attempt was made: in what it differs from the one that stood before it, and what that comes from, up to the first
//! causes.
//!
//! What was asked is compared field by field, by the same walk that made the fingerprint. Where an input differs, the
//! explanation goes on with what published it then and now. What remains are causes that no other step of the record
//! explains: a file, a parameter, a package, a source.

use std::collections::{HashMap, VecDeque};

use runstone_core::canonical::{self, Value};
use runstone_core::cell::task_name;
use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{AttemptKind, AttemptRecord, AttemptState, ContentKind, MaterializationRecord, NodeId};
use runstone_core::store::Store;
use runstone_exec::objects::ObjectStore;
use serde::Serialize;

use crate::diff::{FileChange, changed_files};
use crate::difference::{Difference, What, differences};
use crate::view::reference;
use crate::{Error, Result, packages};

/// How many attempts an explanation looks at, at most.
const EXPLAINED: usize = 1000;

/// An explanation: its first step is about the attempt that was asked about, each further one about something it read.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Each attempt once.
    pub steps: Vec<Step>,
    /// What all of it comes from, each with the way that leads there.
    pub first_causes: Vec<FirstCause>,
    /// Whether there was more to look at.
    pub partial: bool,
}

/// Why one attempt is not the one that stood before it.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// `step` or `step{cell}`.
    pub task: String,
    /// Its pipeline.
    pub pipeline: String,
    /// Its run.
    pub run_number: i64,
    /// Its node.
    pub attempt_node: i64,
    /// What was asked.
    pub fingerprint: String,
    /// How it compares with what stood before.
    pub verdict: Verdict,
    /// What it is compared with.
    pub before: Option<Before>,
    /// In what they differ.
    pub causes: Vec<Cause>,
}

/// How an attempt compares with the one that stood before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing of its step and cell was on record.
    First,
    /// Something else was asked.
    Changed,
    /// The same was asked, and there was no result to reuse.
    Again,
    /// The same was asked although there was a result: it was forced, or the bytes were gone.
    Repeated,
    /// A result was taken over under other inputs or names.
    Reused,
}

/// The attempt that stood before.
#[derive(Debug, Clone, Serialize)]
pub struct Before {
    /// Its run.
    pub run_number: i64,
    /// Its node.
    pub attempt_node: i64,
    /// What was asked.
    pub fingerprint: String,
    /// Its state.
    pub state: AttemptState,
    /// Whether it left a result that could be reused.
    pub reusable: bool,
}

/// One thing that differs, and what it comes from.
#[derive(Debug, Clone, Serialize)]
pub struct Cause {
    /// What differs.
    #[serde(flatten)]
    pub difference: Difference,
    /// The versions that were read then and now, where it is an input.
    pub versions: Option<Versions>,
    /// The step (a position in the list) that explains it.
    pub explained_by: Option<usize>,
    /// Files of a folder that differ, as far as the bytes are there.
    pub files: Vec<FileChange>,
    /// Packages that differ.
    pub packages: Vec<packages::Change>,
}

/// What an input was, then and now.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// As commands take it.
    pub old: Option<String>,
    /// As commands take it.
    pub new: Option<String>,
}

/// A cause that nothing else on record explains.
#[derive(Debug, Clone, Serialize)]
pub struct FirstCause {
    /// From the attempt that was asked about to the one it belongs to: `#42 step{cell}`.
    pub path: Vec<String>,
    /// Position of that one in the list of steps.
    pub step: usize,
    /// Position of the cause within it; none where the attempt itself is the cause (a step that was never done before,
    /// or whose result is another one although the same was asked).
    pub cause: Option<usize>,
    /// In a few words.
    pub summary: String,
}

/// Explains an attempt.
///
/// # Errors
/// Where the record cannot be read, or does not hold what was asked.
pub fn explain(store: &mut dyn Store, objects: Option<&ObjectStore>, attempt: NodeId) -> Result<Explanation> {
    let mut explainer = Explainer {
        store,
        objects,
        steps: Vec::new(),
        came_from: Vec::new(),
        known: HashMap::new(),
        links: HashMap::new(),
    };
    let first = explainer.attempt(attempt)?;
    let mut todo = VecDeque::from([(first, None, None)]);
    let mut partial = false;
    while let Some((now, then, from)) = todo.pop_front() {
        if explainer.steps.len() >= EXPLAINED {
            partial = true;
            break;
        }
        explainer.step(&now, then, from, &mut todo)?;
    }
    let Explainer { mut steps, came_from, known, links, .. } = explainer;
    for ((step, cause), node) in &links {
        steps[*step].causes[*cause].explained_by = known.get(node).copied();
    }
    let first_causes = first_causes(&steps, &came_from, &links);
    Ok(Explanation { steps, first_causes, partial })
}

/// An attempt, the one to compare it with where that is known, and the step that asks.
type Todo = (AttemptRecord, Option<AttemptRecord>, Option<usize>);

struct Explainer<'a> {
    store: &'a mut dyn Store,
    objects: Option<&'a ObjectStore>,
    steps: Vec<Step>,
    /// Of each step: the one that led to it.
    came_from: Vec<Option<usize>>,
    known: HashMap<NodeId, usize>,
    /// By step and cause: the attempt that explains it.
    links: HashMap<(usize, usize), NodeId>,
}

impl Explainer<'_> {
    fn attempt(&mut self, id: NodeId) -> Result<AttemptRecord> {
        let found = self.store.attempts_by_id(&[id])?.pop();
        found.ok_or_else(|| Error::damaged(format!("attempt {} is not on record", id.0)))
    }

    fn asked(&mut self, fingerprint: &Fingerprint) -> Result<Value> {
        let missing = || Error::damaged(format!("what {fingerprint} asked for is not on record"));
        let bytes = self.store.derivation(fingerprint)?.ok_or_else(missing)?;
        canonical::decode(&bytes)
            .map_err(|error| Error::damaged(format!("what {fingerprint} asked for cannot be read")).because(error))
    }

    fn step(
        &mut self,
        now: &AttemptRecord,
        then: Option<AttemptRecord>,
        from: Option<usize>,
        todo: &mut VecDeque<Todo>,
    ) -> Result<()> {
        if self.known.contains_key(&now.id) {
            return Ok(());
        }
        let at = self.steps.len();
        self.known.insert(now.id, at);
        let then = match then {
            Some(then) => Some(then),
            None => self.store.preceding(now.id)?,
        };
        let mut causes = Vec::new();
        if let Some(then) = &then {
            for difference in self.compare(then, now)? {
                causes.push(self.cause(then, now, difference, (at, causes.len()), todo)?);
            }
        }
        self.steps.push(Step {
            task: task_name(&now.step, &now.cell),
            pipeline: now.pipeline.clone(),
            run_number: now.run_number,
            attempt_node: now.id.0,
            fingerprint: now.fingerprint.to_string(),
            verdict: verdict(now, then.as_ref()),
            before: then.as_ref().map(Before::from),
            causes,
        });
        self.came_from.push(from);
        Ok(())
    }

    fn compare(&mut self, then: &AttemptRecord, now: &AttemptRecord) -> Result<Vec<Difference>> {
        if then.fingerprint == now.fingerprint {
            return Ok(Vec::new());
        }
        Ok(differences(&self.asked(&then.fingerprint)?, &self.asked(&now.fingerprint)?))
    }

    fn cause(
        &mut self,
        then: &AttemptRecord,
        now: &AttemptRecord,
        difference: Difference,
        at: (usize, usize),
        todo: &mut VecDeque<Todo>,
    ) -> Result<Cause> {
        let mut cause =
            Cause { versions: None, explained_by: None, files: Vec::new(), packages: Vec::new(), difference };
        match cause.difference.what {
            What::Input | What::InputMetric => self.follow_input(then, now, &mut cause, at, todo)?,
            What::Python if cause.difference.name == "lock" => cause.packages = self.packages(&cause.difference),
            What::Source => cause.files = self.source_files(then, now)?,
            _ => {}
        }
        Ok(cause)
    }

    /// What an input was then and now, which files of it differ, and who to ask next.
    fn follow_input(
        &mut self,
        then: &AttemptRecord,
        now: &AttemptRecord,
        cause: &mut Cause,
        at: (usize, usize),
        todo: &mut VecDeque<Todo>,
    ) -> Result<()> {
        let (old, new) = (self.read_as(then, &cause.difference)?, self.read_as(now, &cause.difference)?);
        if cause.difference.what == What::Input {
            let name = |it: &MaterializationRecord| reference(&it.dataset, &it.subset, it.version);
            cause.versions = Some(Versions { old: old.as_ref().map(name), new: new.as_ref().map(name) });
            if let (Some(old), Some(new)) = (&old, &new) {
                cause.files = self.files((old.hash, old.kind), (new.hash, new.kind));
            }
        }
        let Some(new) = new else { return Ok(()) };
        let producer = self.attempt(new.attempt)?;
        let former = match &old {
            Some(old) => Some(self.attempt(old.attempt)?),
            None => None,
        };
        self.links.insert(at, producer.id);
        todo.push_back((producer, former, Some(at.0)));
        Ok(())
    }

    /// The publication that an attempt read as the input, or as the entry of one, that a difference is about.
    fn read_as(&mut self, attempt: &AttemptRecord, difference: &Difference) -> Result<Option<MaterializationRecord>> {
        let Some(place) = &difference.input else { return Ok(None) };
        let edges = self.store.consumed(&[attempt.id])?;
        let read: Vec<NodeId> =
            edges.iter().filter(|edge| edge.slot == place.name).map(|edge| edge.materialization).collect();
        let read = self.store.materializations_by_id(&read)?;
        let Some(entry) = &place.entry else { return Ok(read.into_iter().next()) };
        let producers: Vec<NodeId> = read.iter().map(|it| it.attempt).collect();
        let producers = self.store.attempts_by_id(&producers)?;
        let key = |it: &MaterializationRecord| {
            let producer = producers.iter().find(|attempt| attempt.id == it.attempt);
            producer.map(|attempt| task_name(&attempt.step, &attempt.cell))
        };
        // An entry of another pipeline's dataset is named by that.
        let is_it = |it: &MaterializationRecord| {
            key(it).as_ref() == Some(entry) || task_name(&it.dataset, &it.subset) == *entry
        };
        Ok(read.into_iter().find(is_it))
    }

    fn files(&self, old: (ContentHash, ContentKind), new: (ContentHash, ContentKind)) -> Vec<FileChange> {
        let Some(objects) = self.objects.filter(|_| old.1 == ContentKind::Dir && new.1 == ContentKind::Dir) else {
            return Vec::new();
        };
        // Bytes that are gone leave it at the hashes.
        changed_files(objects, old.0, new.0).map(|files| files.list).unwrap_or_default()
    }

    fn source_files(&mut self, then: &AttemptRecord, now: &AttemptRecord) -> Result<Vec<FileChange>> {
        let one = |made: Vec<MaterializationRecord>| made.into_iter().next().map(|it| (it.hash, it.kind));
        let old = one(self.store.published(&[then.id])?);
        let new = one(self.store.published(&[now.id])?);
        Ok(old.zip(new).map(|(old, new)| self.files(old, new)).unwrap_or_default())
    }

    fn packages(&self, difference: &Difference) -> Vec<packages::Change> {
        let Some(objects) = self.objects else { return Vec::new() };
        let read = |text: &Option<String>| {
            let hash = text.as_deref()?.parse().ok()?;
            String::from_utf8(objects.read_verified(hash, packages::MAX_LOCK_BYTES).ok()?).ok()
        };
        match (read(&difference.old), read(&difference.new)) {
            (Some(old), Some(new)) => packages::changes(&old, &new),
            _ => Vec::new(),
        }
    }
}

impl From<&AttemptRecord> for Before {
    fn from(attempt: &AttemptRecord) -> Self {
        Self {
            run_number: attempt.run_number,
            attempt_node: attempt.id.0,
            fingerprint: attempt.fingerprint.to_string(),
            state: attempt.state,
            reusable: attempt.reusable,
        }
    }
}

fn verdict(now: &AttemptRecord, then: Option<&AttemptRecord>) -> Verdict {
    match then {
        _ if now.kind == AttemptKind::Reuse => Verdict::Reused,
        None => Verdict::First,
        Some(then) if then.fingerprint != now.fingerprint => Verdict::Changed,
        Some(then) if then.reusable => Verdict::Repeated,
        Some(_) => Verdict::Again,
    }
}

/// Causes that no further step explains. A step whose causes are all explained by others is none itself.
fn first_causes(
    steps: &[Step],
    came_from: &[Option<usize>],
    links: &HashMap<(usize, usize), NodeId>,
) -> Vec<FirstCause> {
    let mut found = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let mut put = |cause: Option<usize>, summary: String| {
            found.push(FirstCause { path: path(steps, came_from, at), step: at, cause, summary });
        };
        for (position, cause) in step.causes.iter().enumerate() {
            if !links.contains_key(&(at, position)) {
                put(Some(position), summary(&cause.difference));
            }
        }
        if step.causes.is_empty() {
            match step.verdict {
                Verdict::First => put(None, "it was done for the first time".to_owned()),
                Verdict::Again => put(None, "what stood before left no result to reuse".to_owned()),
                Verdict::Repeated if at > 0 => {
                    put(None, "the same was asked, and another result came of it".to_owned());
                }
                Verdict::Repeated => put(None, "the same was asked and done again".to_owned()),
                Verdict::Changed | Verdict::Reused => {}
            }
        }
    }
    found
}

fn path(steps: &[Step], came_from: &[Option<usize>], to: usize) -> Vec<String> {
    let mut path = Vec::new();
    let mut at = Some(to);
    while let Some(step) = at {
        path.push(format!("#{} {}", steps[step].run_number, steps[step].task));
        at = came_from[step];
    }
    path.reverse();
    path
}

fn summary(difference: &Difference) -> String {
    let verb = match (&difference.old, &difference.new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let what = difference.what.words();
    if difference.name.is_empty() { format!("{what} {verb}") } else { format!("{what} {verb}: {}", difference.name) }
}
