//! What others assert about the surroundings of our versions: who read them and what came of it, or who wrote what we have.
//!
//! A point of asserted lineage *is* a version of ours where it names the same content. Where one of our datasets bears
//! its very name and has that content, it is that one; else it is every version with that content. The walk goes along
//! asserted edges alone and stops where it comes back to us: our own graph is asked about there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use runstone_core::hash::ContentHash;
use runstone_core::lineage::asserted::{
    AssertedDataset, AssertedDatasetId, AssertedEdge, AssertedRun, AssertedRunId, EdgesOf, EventKind, EventType, Point,
    Side, content_of,
};
use runstone_core::record::{Cut, MaterializationRecord, NodeId};
use runstone_core::store::{Direction, Store, WalkLimit};
use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::view::{Rfc3339, reference};

/// Publications with the same content that are looked at.
const SAME_CONTENT: u32 = 100;

/// A piece of asserted lineage.
#[derive(Debug, Clone, Serialize)]
pub struct AssertedView {
    /// `up` or `down`.
    pub direction: &'static str,
    /// Points that are versions asked about.
    pub start: Vec<usize>,
    /// Whether a limit cut it.
    pub partial: bool,
    /// Which one.
    pub cut: Option<Cut>,
    /// Datasets in exactly one version, or without any; in the order of names.
    pub points: Vec<PointView>,
    /// Runs, the earliest first.
    pub runs: Vec<AssertedRunView>,
    /// Which run read or wrote which point.
    pub edges: Vec<AssertedEdgeView>,
}

/// A dataset as others know it, in one version.
#[derive(Debug, Clone, Serialize)]
pub struct PointView {
    /// Its place in the list.
    pub point: usize,
    /// Whose name it is.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Under which it is found as well.
    pub symlinks: Vec<NameView>,
    /// The version that was stated; null where none was, which means none and not the latest.
    pub version: Option<String>,
    /// Versions of ours that it is, as commands take them.
    pub is: Vec<String>,
}

/// A name within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameView {
    /// Whose name it is.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A run that others assert.
#[derive(Debug, Clone, Serialize)]
pub struct AssertedRunView {
    /// Its place in the list.
    pub run: usize,
    /// Its UUID.
    pub id: String,
    /// How it was given, where that is no UUID.
    pub given: Option<String>,
    /// `run`, or `job` where one was described without a run.
    pub kind: EventKind,
    /// Namespace of its job.
    pub job_namespace: String,
    /// Name of its job.
    pub job: String,
    /// What became of it.
    pub state: Option<&'static str>,
    /// Time of its earliest event.
    pub first_at: Rfc3339,
    /// Time of its latest event.
    pub last_at: Rfc3339,
}

/// A run read or wrote a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AssertedEdgeView {
    /// The run.
    pub run: usize,
    /// `input` or `output`.
    pub side: Side,
    /// What.
    pub point: usize,
    /// Of which columns its columns were made, as it was stated.
    pub columns: Option<Value>,
}

/// What others assert around versions of ours: downwards who read them and what was made of it, upwards who wrote them and
/// of what. A `depth` counts runs, `nodes` points.
///
/// # Errors
/// Where the record cannot be read.
pub fn neighbours(
    store: &mut dyn Store,
    versions: &[NodeId],
    direction: Direction,
    limit: WalkLimit,
) -> Result<AssertedView> {
    let versions = store.materializations_by_id(versions)?;
    let mut walk = Walk::new(store, direction, limit);
    walk.run(&versions)?;
    walk.view()
}

struct Walk<'s> {
    store: &'s mut dyn Store,
    /// The side of runs that the walk comes from: downwards it enters runs by what they read.
    near: Side,
    limit: WalkLimit,
    until: Option<Instant>,
    cut: Option<Cut>,
    start: BTreeSet<Point>,
    points: BTreeMap<Point, Vec<MaterializationRecord>>,
    names: HashMap<AssertedDatasetId, AssertedDataset>,
    runs: BTreeSet<AssertedRunId>,
    edges: HashSet<AssertedEdge>,
}

impl<'s> Walk<'s> {
    fn new(store: &'s mut dyn Store, direction: Direction, limit: WalkLimit) -> Self {
        let near = match direction {
            Direction::Down => Side::Input,
            Direction::Up => Side::Output,
        };
        Self {
            store,
            near,
            limit,
            until: limit.time.and_then(|time| Instant::now().checked_add(time)),
            cut: None,
            start: BTreeSet::new(),
            points: BTreeMap::new(),
            names: HashMap::new(),
            runs: BTreeSet::new(),
            edges: HashSet::new(),
        }
    }

    fn run(&mut self, versions: &[MaterializationRecord]) -> Result<()> {
        let wanted: HashSet<(&str, ContentHash)> = versions.iter().map(|it| (it.dataset.as_str(), it.hash)).collect();
        let contents: BTreeSet<ContentHash> = versions.iter().map(|it| it.hash).collect();
        let contents: Vec<ContentHash> = contents.into_iter().collect();
        let mut edges = self.edges_of(EdgesOf::Contents(&contents), self.near)?;
        let mut points: Vec<Point> = edges.iter().map(|edge| edge.point.clone()).collect();
        self.visit(&mut points)?;
        // The same content under a name that is another one of ours was not asked about.
        let is_wanted = |it: &MaterializationRecord| wanted.contains(&(it.dataset.as_str(), it.hash));
        self.points.retain(|_, ours| ours.iter().any(is_wanted));
        edges.retain(|edge| self.points.contains_key(&edge.point));
        self.start = self.points.keys().cloned().collect();
        let mut depth = 0;
        while let Some(fresh) = self.enter(edges, depth) {
            let beyond = self.edges_of(EdgesOf::Runs(&fresh), self.near.other())?;
            let mut reached: Vec<Point> = beyond.iter().map(|edge| edge.point.clone()).collect();
            self.visit(&mut reached)?;
            self.edges.extend(beyond.into_iter().filter(|edge| self.points.contains_key(&edge.point)));
            edges = self.edges_of(EdgesOf::Points(&reached), self.near)?;
            depth += 1;
        }
        Ok(())
    }

    /// Takes edges into runs; gives the runs that are new. None where there are none, or a limit ends it here.
    fn enter(&mut self, edges: Vec<AssertedEdge>, depth: u32) -> Option<Vec<AssertedRunId>> {
        let fresh: BTreeSet<AssertedRunId> =
            edges.iter().map(|edge| edge.run).filter(|run| !self.runs.contains(run)).collect();
        if !fresh.is_empty() && self.limit.depth.is_some_and(|most| depth >= most) {
            self.cut.get_or_insert(Cut::Depth);
            return None;
        }
        if !fresh.is_empty() && self.until.is_some_and(|until| Instant::now() >= until) {
            self.cut.get_or_insert(Cut::Time);
            return None;
        }
        self.edges.extend(edges);
        self.runs.extend(&fresh);
        (!fresh.is_empty()).then(|| fresh.into_iter().collect())
    }

    fn edges_of(&mut self, of: EdgesOf<'_>, side: Side) -> Result<Vec<AssertedEdge>> {
        // More edges than points may be seen would not be looked at.
        let most = self.limit.nodes.saturating_mul(4).max(1000);
        let edges = self.store.asserted_edges(of, side, most)?;
        if edges.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            self.cut.get_or_insert(Cut::Nodes);
        }
        Ok(edges)
    }

    /// Keeps of these points those not seen yet, as many as the limit allows, and finds out what they are to us.
    fn visit(&mut self, points: &mut Vec<Point>) -> Result<()> {
        points.sort_unstable();
        points.dedup();
        points.retain(|point| !self.points.contains_key(point));
        let room = usize::try_from(self.limit.nodes).unwrap_or(usize::MAX).saturating_sub(self.points.len());
        if points.len() > room {
            points.truncate(room);
            self.cut.get_or_insert(Cut::Nodes);
        }
        let missing: Vec<AssertedDatasetId> =
            points.iter().map(|point| point.dataset).filter(|id| !self.names.contains_key(id)).collect();
        for dataset in self.store.asserted_datasets(&missing)? {
            self.names.insert(dataset.id, dataset);
        }
        for point in points {
            let ours = ours(self.store, point, self.names.get(&point.dataset))?;
            self.points.insert(point.clone(), ours);
        }
        Ok(())
    }

    fn view(self) -> Result<AssertedView> {
        let Self { store, near, cut, start, points, names, runs, edges, .. } = self;
        let ids: Vec<AssertedRunId> = runs.into_iter().collect();
        let mut runs = store.asserted_runs(&ids)?;
        runs.sort_by_key(|run| (run.first, run.uuid));
        let columns: HashMap<_, Value> =
            store.asserted_columns(&ids)?.into_iter().map(|(run, dataset, it)| ((run, dataset), it)).collect();
        let name = |point: &Point| names.get(&point.dataset).map(|it| it.name.clone());
        let mut points: Vec<(Point, Vec<MaterializationRecord>)> = points.into_iter().collect();
        points.sort_by(|(a, _), (b, _)| (name(a), &a.version).cmp(&(name(b), &b.version)));
        let run_at: HashMap<AssertedRunId, usize> = runs.iter().enumerate().map(|(at, run)| (run.id, at)).collect();
        let point_at: HashMap<&Point, usize> = points.iter().enumerate().map(|(at, (point, _))| (point, at)).collect();
        let edge = |edge: &AssertedEdge| {
            let columns = columns.get(&(edge.run, edge.point.dataset)).filter(|_| edge.side == Side::Output);
            let (run, point) = (*run_at.get(&edge.run)?, *point_at.get(&edge.point)?);
            Some(AssertedEdgeView { run, side: edge.side, point, columns: columns.cloned() })
        };
        let mut edges: Vec<AssertedEdgeView> = edges.iter().filter_map(edge).collect();
        edges.sort_by_key(|edge| (edge.run, edge.side.as_str(), edge.point));
        let start = start.iter().filter_map(|point| point_at.get(point).copied()).collect::<BTreeSet<_>>();
        Ok(AssertedView {
            direction: if near == Side::Input { "down" } else { "up" },
            start: start.into_iter().collect(),
            partial: cut.is_some(),
            cut,
            points: points
                .iter()
                .enumerate()
                .map(|(at, (point, ours))| point_view(at, point, names.get(&point.dataset), ours))
                .collect(),
            runs: runs.into_iter().enumerate().map(|(at, run)| run_view(at, run)).collect(),
            edges,
        })
    }
}

/// The versions of ours that a point is, each by its newest publication.
fn ours(store: &mut dyn Store, point: &Point, dataset: Option<&AssertedDataset>) -> Result<Vec<MaterializationRecord>> {
    let Some(content) = point.version.as_deref().and_then(content_of) else { return Ok(Vec::new()) };
    let mut found = store.by_hash(&content.to_hex(), SAME_CONTENT)?;
    let mut seen = HashSet::new();
    found.retain(|it| seen.insert((it.dataset.clone(), it.subset.clone())));
    let bears = |name: &str| {
        dataset.is_some_and(|it| std::iter::once(&it.name).chain(&it.symlinks).any(|known| known.name == name))
    };
    if found.iter().any(|it| bears(&it.dataset)) {
        found.retain(|it| bears(&it.dataset));
    } else if content == ContentHash::of(b"") {
        // Nothing is the same everywhere.
        found.clear();
    }
    Ok(found)
}

fn point_view(
    at: usize,
    point: &Point,
    dataset: Option<&AssertedDataset>,
    ours: &[MaterializationRecord],
) -> PointView {
    let mut names = dataset.into_iter().flat_map(|it| std::iter::once(&it.name).chain(&it.symlinks));
    let view = |it: &runstone_core::lineage::asserted::Qualified| NameView {
        namespace: it.namespace.clone(),
        name: it.name.clone(),
    };
    let NameView { namespace, name } =
        names.next().map_or_else(|| NameView { namespace: String::new(), name: String::new() }, view);
    PointView {
        point: at,
        namespace,
        name,
        symlinks: names.map(view).collect(),
        version: point.version.clone(),
        is: ours.iter().map(|it| reference(&it.dataset, &it.subset, it.version)).collect(),
    }
}

fn run_view(at: usize, run: AssertedRun) -> AssertedRunView {
    AssertedRunView {
        run: at,
        id: run.uuid.to_string(),
        given: run.given,
        kind: run.kind,
        job_namespace: run.job.namespace,
        job: run.job.name,
        state: run.state.map(EventType::as_str),
        first_at: Rfc3339(run.first),
        last_at: Rfc3339(run.last),
    }
}
