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

use super::{PostgresStore, datasets, runs};

pub(super) use walk::lineage;
pub use walk::{CLOSURE_DOWN, CLOSURE_UP, LEVEL_DOWN, LEVEL_UP, PRODUCERS, READERS};

impl LineageStore for PostgresStore {
    fn closure(&mut self, from: &[NodeId], direction: Direction, limit: WalkLimit) -> Result<Closure> {
        self.read("walk through lineage", async |tx, project| walk::closure(tx, project, from, direction, limit).await)
    }

    fn consumed(&mut self, attempts: &[NodeId]) -> Result<Vec<ConsumedRecord>> {
        self.read("read what attempts read", async |tx, project| edges::consumed(tx, project, attempts).await)
    }

    fn materializations_by_id(&mut self, ids: &[NodeId]) -> Result<Vec<MaterializationRecord>> {
        self.read("read publications", async |tx, project| datasets::by_id(tx, project, ids).await)
    }

    fn runs_by_id(&mut self, ids: &[RunId]) -> Result<Vec<RunRecord>> {
        self.read("read runs", async |tx, project| runs::by_id(tx, project, ids).await)
    }

    fn reported(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, Value)>> {
        self.read("read metadata", async |tx, project| known::reported(tx, project, attempts).await)
    }

    fn edges(&mut self, after: NodeId, ids: u32) -> Result<Edges> {
        self.read("read edges", async |tx, project| edges::after(tx, project, after, ids).await)
    }

    fn ended(&mut self, attempts: &[NodeId]) -> Result<Vec<(NodeId, bool)>> {
        self.read("read which attempts ended", async |tx, project| edges::ended(tx, project, attempts).await)
    }

    fn horizon(&mut self) -> Result<Horizon> {
        self.read("read how far the record goes", async |tx, _| edges::horizon(tx).await)
    }

    fn preceding(&mut self, attempt: NodeId) -> Result<Option<AttemptRecord>> {
        self.read("look an earlier attempt up", async |tx, project| search::preceding(tx, project, attempt).await)
    }

    fn search(&mut self, search: &Search) -> Result<Vec<AttemptRecord>> {
        self.scan("search attempts", async |tx, project| search::search(tx, project, search).await)
    }

    fn move_tag(&mut self, new: &NewTagMove) -> Result<TagMoved> {
        self.once("move a tag", async |tx, project| tags::move_to(tx, project, new).await)
    }

    fn tags(&mut self, dataset: Option<&str>) -> Result<Vec<TagMove>> {
        self.read("list tags", async |tx, project| tags::list(tx, project, dataset).await)
    }

    fn tag_history(&mut self, dataset: &str, name: &TagName) -> Result<Vec<TagMove>> {
        self.read("read the moves of a tag", async |tx, project| tags::history(tx, project, dataset, name).await)
    }

    fn unlogged(&mut self, limit: u32) -> Result<Vec<NodeId>> {
        self.read("read what is not in the log", async |tx, project| log::unlogged(tx, project, limit).await)
    }

    fn log_size(&mut self) -> Result<u64> {
        self.read("read the size of the log", async |tx, project| log::size(tx, project).await)
    }

    fn log_leaves(&mut self, from: u64, limit: u32) -> Result<Vec<LogLeaf>> {
        self.read("read the log", async |tx, project| log::leaves(tx, project, from, limit).await)
    }

    fn log_leaves_at(&mut self, indices: &[u64]) -> Result<Vec<LogLeaf>> {
        self.read("read the log", async |tx, project| log::leaves_at(tx, project, indices).await)
    }

    fn log_leaves_of(&mut self, attempts: &[NodeId]) -> Result<Vec<LogLeaf>> {
        self.read("read the log", async |tx, project| log::leaves_of(tx, project, attempts).await)
    }

    fn append_log(&mut self, leaves: &[(NodeId, Vec<u8>)], checkpoint: &CheckpointRecord) -> Result<bool> {
        self.once("append to the log", async |tx, project| log::append(tx, project, leaves, checkpoint).await)
    }

    fn checkpoints(&mut self, limit: u32) -> Result<Vec<CheckpointRecord>> {
        self.read("read checkpoints", async |tx, project| log::checkpoints(tx, project, limit).await)
    }

    fn profiles(&mut self, publications: &[NodeId]) -> Result<Vec<(NodeId, Value)>> {
        self.read("read profiles", async |tx, project| known::profiles(tx, project, publications).await)
    }

    fn set_profile(&mut self, publication: NodeId, profile: &Value, now: Timestamp) -> Result<bool> {
        self.once("keep a profile", async |tx, project| {
            known::set_profile(tx, project, publication, profile, now).await
        })
    }

    fn add_reproduction(&mut self, new: &NewReproduction) -> Result<()> {
        self.once("keep a verdict", async |tx, project| known::add_reproduction(tx, project, new).await)
    }

    fn reproductions(&mut self, attempts: &[NodeId]) -> Result<Vec<ReproductionRecord>> {
        self.read("read verdicts", async |tx, project| known::reproductions(tx, project, attempts).await)
    }
}
