//! From files and words on a command line to a checked, expanded, selected pipeline. Touches no state.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use runstone_core::attempt::Cause;
use runstone_core::cell::Cell;
use runstone_core::graph::{Graph, NeedKind, Work};
use runstone_core::machine::Failure;
use runstone_core::name::Name;
use runstone_core::partition::{self, Key};
use runstone_core::scalar::Scalar;
use runstone_core::select::{Request, SelectError, Selection, select};
use runstone_core::spec::model::{Action, ParamKind};
use runstone_core::spec::params::{self, Resolved};
use runstone_core::spec::{Limits, Loaded, Options, Pipeline, Sources, load};
use serde::{Deserialize, Serialize};

use crate::project::{Config, Project, folder_below};

/// What a person asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The pipeline file.
    pub pipeline: PathBuf,
    /// Files laid over it, in order.
    pub overlays: Vec<PathBuf>,
    /// Files with values of parameters, in order.
    pub params_files: Vec<PathBuf>,
    /// `name=value`, after the files, in order.
    pub params: Vec<String>,
    /// Which part of it.
    pub request: Request,
    /// Which partition, where the pipeline has some.
    pub partition: Option<String>,
    /// Warn of what is not supported yet, instead of refusing it.
    pub allow_unsupported: bool,
}

/// The project, as far as a pipeline's meaning depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// Its root folder.
    pub root: PathBuf,
    /// The pools that it has; none admits any.
    pub pools: Option<Vec<String>>,
}

impl Home {
    /// That of a project with this configuration.
    #[must_use]
    pub fn new(root: &Path, config: &Config) -> Self {
        Self { root: root.to_owned(), pools: Some(config.pools.value.keys().cloned().collect()) }
    }

    /// That of a project for a text that is on record with a run: what it names was there when it was put there.
    #[must_use]
    pub fn of_record(project: &Project) -> Self {
        Self { root: project.root().to_owned(), pools: None }
    }

    /// That of a project.
    #[must_use]
    pub fn of(project: &Project) -> Self {
        Self::new(project.root(), project.config())
    }
}

/// The text of a pipeline, as it is kept with every run of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The pipeline file's text.
    pub text: String,
    /// Where it was, relative to the project where it lies in it.
    pub path: PathBuf,
    /// Names and texts of overlays.
    pub overlays: Vec<(String, String)>,
    /// Unsupported fields were only warned of.
    pub allow_unsupported: bool,
}

/// A pipeline ready to be planned or run.
#[derive(Debug)]
pub struct Prepared {
    /// The checked pipeline.
    pub pipeline: Pipeline,
    /// Its graph.
    pub graph: Graph,
    /// Which part of it is meant.
    pub selection: Selection,
    /// What was asked for.
    pub request: Request,
    /// Parameters in force.
    pub params: IndexMap<Name, Scalar>,
    /// The partition it works on.
    pub partition: Option<Key>,
    /// The folder of the pipeline file, absolute: where steps run.
    pub folder: PathBuf,
    /// The text behind all this.
    pub definition: Definition,
    /// Nodes that stand for files, by path.
    pub(crate) files: HashMap<String, usize>,
    /// Warnings, rendered without colour.
    pub warnings: String,
}

impl Prepared {
    /// Which part of a dataset a task publishes: its cell, and the partition as one more axis.
    pub(crate) fn subset(&self, cell: &Cell) -> String {
        let Some(partition) = &self.partition else { return cell.key() };
        let axis = (partition_axis(), Scalar::Text(partition.to_string()));
        Cell::new(cell.values().iter().cloned().chain([axis])).key()
    }

    /// Whether a run for this partition reads this part of a dataset: what is of another partition is not meant. A run
    /// without a partition reads all of them.
    pub(crate) fn concerns(&self, subset: &str) -> bool {
        let Some(own) = &self.partition else { return true };
        Cell::parse(subset).get(partition::AXIS).is_none_or(|found| found.to_string() == own.as_str())
    }

    /// A part of a dataset as seen from within this run's partition: its cell.
    pub(crate) fn within(&self, subset: &str) -> Cell {
        let cell = Cell::parse(subset);
        if self.partition.is_none() {
            return cell;
        }
        Cell::new(cell.values().iter().filter(|(name, _)| name.as_str() != partition::AXIS).cloned())
    }

    /// Whether a file that a node was to look at may be missing: everybody who reads it can do without.
    pub(crate) fn may_be_absent(&self, node: usize, failure: &Failure) -> bool {
        let nodes = &self.graph.nodes;
        let is_optional = |dependent: &usize| {
            let mut needs = nodes[*dependent].needs.iter().filter(|need| need.node == node);
            needs.all(|need| need.kind == NeedKind::Data { optional: true })
        };
        failure.cause == Cause::MissingOutput
            && matches!(nodes[node].work, Work::Observe(_))
            && nodes[node].dependents.iter().all(is_optional)
    }
}

fn partition_axis() -> Name {
    Name::new(partition::AXIS).expect("it follows the grammar of names")
}

/// What was asked for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pipeline has errors.
    #[error("the pipeline has errors")]
    Pipeline(Box<Loaded>),
    /// The parameters have errors.
    #[error("the parameters have errors")]
    Params(Box<Resolved>),
    /// The partition does not fit.
    #[error("{0}")]
    Partition(String),
    /// The selection does not fit.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Loads, resolves, expands and selects.
///
/// # Errors
/// [`PrepareError`]; all mistakes of a file come together.
pub fn prepare(asked: &Asked, home: &Home) -> Result<Prepared, PrepareError> {
    let text = read(&asked.pipeline)?;
    let overlays = asked
        .overlays
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<Vec<_>, PrepareError>>()?;
    let name = asked.pipeline.display().to_string();
    let sources: Vec<(&str, &[u8])> = overlays.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
    let loaded = load_pipeline(&name, &text, &sources, &asked.pipeline, asked.allow_unsupported, home)?;
    let files = asked
        .params_files
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<Vec<_>, PrepareError>>()?;
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
    let assignments: Vec<&str> = asked.params.iter().map(String::as_str).collect();
    let absolute = std::path::absolute(&asked.pipeline)
        .map_err(|source| PrepareError::Read { path: asked.pipeline.clone(), source })?;
    let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what was loaded is UTF-8");
    let definition = Definition {
        text: utf8(text.clone()),
        path: absolute.strip_prefix(&home.root).unwrap_or(&absolute).to_owned(),
        overlays: overlays.iter().map(|(name, text)| (name.clone(), utf8(text.clone()))).collect(),
        allow_unsupported: asked.allow_unsupported,
    };
    let pipeline = loaded.pipeline.as_ref().expect("checked by load_pipeline");
    let resolved = params::resolve(pipeline, &files, &assignments, &Limits::default());
    let Some(params) = resolved.values else { return Err(PrepareError::Params(Box::new(resolved))) };
    assemble(loaded, params, asked.request.clone(), definition, asked.partition.as_deref(), home)
}

/// The same from what a run has kept: its text, its parameters, its selection.
///
/// # Errors
/// As [`prepare`]; on a run's own record only where an incompatible version of runstone wrote it.
pub fn prepare_again(
    definition: Definition,
    params: IndexMap<Name, Scalar>,
    request: Request,
    partition: Option<&str>,
    home: &Home,
) -> Result<Prepared, PrepareError> {
    let name = definition.path.display().to_string();
    let overlays: Vec<(&str, &[u8])> =
        definition.overlays.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let allow = definition.allow_unsupported;
    let loaded = load_pipeline(&name, definition.text.as_bytes(), &overlays, &definition.path, allow, home)?;
    let declared = &loaded.pipeline.as_ref().expect("checked by load_pipeline").params;
    let params = params.into_iter().map(|(name, value)| {
        let value = declared.get(&name).map_or_else(|| value.clone(), |param| typed(param.kind, &value));
        (name, value)
    });
    let params = params.collect();
    assemble(loaded, params, request, definition, partition, home)
}

/// The same from a definition that was kept, with some parameters set, by value and then as `name=value`, and the others
/// to be completed.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_with(
    definition: Definition,
    set: &IndexMap<Name, Scalar>,
    assignments: &[&str],
    request: Request,
    partition: Option<&str>,
    home: &Home,
) -> Result<Prepared, PrepareError> {
    let name = definition.path.display().to_string();
    let overlays: Vec<(&str, &[u8])> =
        definition.overlays.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let loaded = load_pipeline(
        &name,
        definition.text.as_bytes(),
        &overlays,
        &definition.path,
        definition.allow_unsupported,
        home,
    )?;
    let pipeline = loaded.pipeline.as_ref().expect("checked by load_pipeline");
    // JSON is YAML, so what was set is read as a file of parameters is.
    let values = serde_json::to_vec(set).expect("plain values always serialise");
    let resolved = params::resolve(pipeline, &[("parameters", &values)], assignments, &Limits::default());
    let Some(params) = resolved.values else { return Err(PrepareError::Params(Box::new(resolved))) };
    assemble(loaded, params, request, definition, partition, home)
}

/// A pipeline by itself, as a scheduler declares it, and its text.
///
/// # Errors
/// All that is wrong with it, for people.
pub(crate) fn load_declared(path: &Path, text: &[u8], home: &Home) -> Result<(Pipeline, String), String> {
    let name = path.file_name().map_or_else(|| "pipeline".to_owned(), |name| name.to_string_lossy().into_owned());
    let loaded = match load_pipeline(&name, text, &[], path, false, home) {
        Ok(loaded) => loaded,
        Err(PrepareError::Pipeline(loaded)) => return Err(loaded.render(runstone_core::spec::Look::default())),
        Err(error) => return Err(crate::text(&error)),
    };
    let text = String::from_utf8(text.to_owned()).expect("what was loaded is UTF-8");
    Ok((loaded.pipeline.expect("checked by load_pipeline"), text))
}

/// A value as its declaration has it. Databases that keep JSON by meaning make no difference between 1 and 1.0, while a
/// fingerprint does.
fn typed(kind: ParamKind, value: &Scalar) -> Scalar {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "it came from a value of the kind"
    )]
    match (kind, value) {
        (ParamKind::Float, Scalar::Int(whole)) => Scalar::Float(*whole as f64),
        (ParamKind::Int, Scalar::Float(float)) if float.fract() == 0.0 => Scalar::Int(*float as i64),
        (_, value) => value.clone(),
    }
}

fn load_pipeline(
    name: &str,
    text: &[u8],
    overlays: &[(&str, &[u8])],
    path: &Path,
    allow_unsupported: bool,
    home: &Home,
) -> Result<Loaded, PrepareError> {
    let stem = path.file_stem().map_or_else(|| "pipeline".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let options = Options { default_name: stem, allow_unsupported, pools: home.pools.clone(), ..Options::default() };
    let loaded = load(&Sources { name, main: text, overlays }, &options);
    if loaded.pipeline.is_some() { Ok(loaded) } else { Err(PrepareError::Pipeline(Box::new(loaded))) }
}

fn assemble(
    loaded: Loaded,
    params: IndexMap<Name, Scalar>,
    request: Request,
    definition: Definition,
    partition: Option<&str>,
    home: &Home,
) -> Result<Prepared, PrepareError> {
    let warnings = loaded.render(runstone_core::spec::Look::default());
    let mut pipeline = loaded.pipeline.expect("the caller has checked it");
    let partition = checked_partition(&pipeline, partition)?;
    for step in pipeline.steps.values_mut() {
        if let Action::From(source) = &mut step.action {
            let given = source.for_partition(partition.as_ref());
            *source = given.map_err(|error| PrepareError::Partition(error.to_string()))?;
        }
    }
    let graph = Graph::new(&pipeline);
    let selection = select(&pipeline, &graph, &request)?;
    let files = graph
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(index, node)| match &node.work {
            Work::Observe(path) => Some((path.clone(), index)),
            Work::Step(_) => None,
        })
        .collect();
    let folder = folder_below(&home.root, &definition.path);
    Ok(Prepared { pipeline, graph, selection, request, params, partition, folder, definition, files, warnings })
}

fn checked_partition(pipeline: &Pipeline, given: Option<&str>) -> Result<Option<Key>, PrepareError> {
    match (&pipeline.partition, given) {
        (None, None) => Ok(None),
        (Some(partitioning), Some(given)) => {
            partitioning.parse(given).map(Some).map_err(|error| PrepareError::Partition(error.to_string()))
        }
        (Some(partitioning), None) => Err(PrepareError::Partition(format!(
            "pipeline `{}` runs once for each {}: say which, such as --partition {}",
            pipeline.name,
            partitioning.by(),
            partitioning.first().as_ref().map_or("KEY", Key::as_str),
        ))),
        (None, Some(given)) => Err(PrepareError::Partition(format!(
            "pipeline `{}` has no partitions, so it cannot run for {given}; `partition:` declares them",
            pipeline.name
        ))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PrepareError> {
    let fail = |source| PrepareError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(fail)?.len();
    // A file beyond the limit is refused by its size; reading a little more than the limit is enough to see it.
    let limit = Limits::default().file_bytes as u64 + 1;
    if size <= limit {
        return std::fs::read(path).map_err(fail);
    }
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(fail)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_went_through_a_database_is_what_it_was_declared_to_be() {
        for (kind, kept, was) in [
            (ParamKind::Float, "1", Scalar::Float(1.0)),
            (ParamKind::Float, "1.0", Scalar::Float(1.0)),
            (ParamKind::Float, "100000000000000000000", Scalar::Float(1e20)),
            (ParamKind::Int, "5.0", Scalar::Int(5)),
            (ParamKind::Int, "-5", Scalar::Int(-5)),
            (ParamKind::Text, "\"1\"", Scalar::Text("1".into())),
            (ParamKind::Bool, "true", Scalar::Bool(true)),
        ] {
            let value: Scalar = serde_json::from_str(kept).unwrap();
            assert_eq!(typed(kind, &value), was, "{kept}");
        }
    }
}
