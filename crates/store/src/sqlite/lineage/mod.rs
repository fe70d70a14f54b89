//! Everything questions about lineage need. One file for each noun holds the statements.

mod edges;
mod known;
mod log;
mod search;
mod tags;
mod walk;

use runstone_core::lineage::store::{
    CheckpointRecord, Closure, Edges, Horizon, LineageStore, LogLeaf, NewReproduction, ReproductionRecord, Search,
};
use runstone_core::lineage::tag::{NewTagMove, TagMove, TagMoved, TagName};
use runstone_core::record::{AttemptRecord, ConsumedRecord, MaterializationRecord, NodeId, RunId, RunRecord};
use runstone_core::store::{Direction, Result, WalkLimit};
use runstone_core::time::Timestamp;
use serde_json::Value;

use super::{SqliteStore, datasets, runs};

pub(super) use known::set_profile;
pub(super) use tags::targets;
pub(super) use walk::lineage;

impl LineageStore for SqliteStore {
    fn closure(&mut self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Result<Closure> {
        self.read("walk through lineage", |tx, project| walk::closure(tx, project, from, direction, limit))
    }

    fn consumed(&mut self, attempts: &[NodeId]) -> Result<Vec<ConsumedRecord>> {
        self.read("read what attempts read", |tx, project| edges::consumed(tx, project, attempts))
    }

    fn materializations_by_id(&mut self, ids: &[NodeId]) -> Result<Vec<MaterializationRecord>> {
        self.read("read publications", |tx, project| datasets::by_id(tx, project, ids))
    }

    fn runs_by_id(&mut self, ids: &[RunId]) -> Result<Vec<RunRecord>> {
        self.read("read runs", |tx, project| runs::by_id(tx, project, ids))
    }

    fn reported(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, Value)>> {
        self.read("read metadata", |tx, project| known::reported(tx, project, attempts))
    }

    fn edges(&mut self, after: NodeId, ids: u32) -> Result<Edges> {
        self.read("read edges", |tx, project| edges::after(tx, project, after, ids))
    }

    fn ended(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, bool)>> {
        self.read("read which attempts ended", |tx, project| edges::ended(tx, project, attempts))
    }

    fn horizon(&mut self) -> Result<Horizon> {
        self.read("read how far the record goes", |tx, _| edges::horizon(tx))
    }

    fn preceding(&mut self, attempt: NodeId) -> Result<Option<AttemptRecord>> {
        self.read("look an earlier attempt up", |tx, project| search::preceding(tx, project, attempt))
    }

    fn search(&mut self, search: &Search) -> Result<Vec<AttemptRecord>> {
        self.read("search attempts", |tx, project| search::search(tx, project, search))
    }

    fn move_tag(&mut self, new: &NewTagMove) -> Result<TagMoved> {
        self.write("move a tag", |tx, project| tags::move_to(tx, project, new))
    }

    fn tags(&mut self, dataset: Option<&str>) -> Result<Vec<TagMove>> {
        self.read("list tags", |tx, project| tags::list(tx, project, dataset))
    }

    fn tag_history(&mut self, dataset: &str, name: &TagName) -> Result<Vec<TagMove>> {
        self.read("read the moves of a tag", |tx, project| tags::history(tx, project, dataset, name))
    }

    fn unlogged(&mut self, limit: u32) -> Result<Vec<NodeId>> {
        self.read("read what is not in the log", |tx, project| log::unlogged(tx, project, limit))
    }

    fn log_size(&mut self) -> Result<u64> {
        self.read("read the size of the log", log::size)
    }

    fn log_leaves(&mut self, from: u64, limit: u32) -> Result<Vec<LogLeaf>> {
        self.read("read the log", |tx, project| log::leaves(tx, project, from, limit))
    }

    fn log_leaves_at(&mut self, indices: &[u64]) -> Result<Vec<LogLeaf>> {
        self.read("read the log", |tx, project| log::leaves_at(tx, project, indices))
    }

    fn log_leaves_of(&mut self, attempts: &[NodeId]) -> Result<Vec<LogLeaf>> {
        self.read("read the log", |tx, project| log::leaves_of(tx, project, attempts))
    }

    fn append_log(&mut self, leaves: &[(NodeId, Vec<u8>)], checkpoint: &CheckpointRecord) -> Result<bool> {
        self.write("append to the log", |tx, project| log::append(tx, project, leaves, checkpoint))
    }

    fn checkpoints(&mut self, limit: u32) -> Result<Vec<CheckpointRecord>> {
        self.read("read checkpoints", |tx, project| log::checkpoints(tx, project, limit))
    }

    fn profiles(&mut self, publications: &[NodeId]) -> Result<Vec<(NodeId, Value)>> {
        self.read("read profiles", |tx, project| known::profiles(tx, project, publications))
    }

    fn set_profile(&mut self, publication: NodeId, profile: &Value, now: Timestamp) -> Result<bool> {
        self.write("keep a profile", |tx, project| known::profile_of(tx, project, publication, profile, now))
    }

    fn add_reproduction(&mut self, new: &NewReproduction) -> Result<()> {
        self.write("keep a verdict", |tx, project| known::add_reproduction(tx, project, new))
    }

    fn reproductions(&mut self, attempts: &[NodeId]) -> Result<Vec<ReproductionRecord>> {
        self.read("read verdicts", |tx, project| known::reproductions(tx, project, attempts))
    }
}
