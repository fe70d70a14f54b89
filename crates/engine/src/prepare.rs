//! From files and words on a command line to a checked, expanded, selected pipeline. Touches no state.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use runstone_core::attempt::Cause;
use runstone_core::graph::{Graph, NeedKind, Work};
use runstone_core::machine::Failure;
use runstone_core::name::Name;
use runstone_core::scalar::Scalar;
use runstone_core::select::{Request, SelectError, Selection, select};
use runstone_core::spec::model::ParamKind;
use runstone_core::spec::params::{self, Resolved};
use runstone_core::spec::{Limits, Loaded, Options, Pipeline, Sources, load};
use serde::{Deserialize, Serialize};

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
    /// Warn of what is not supported yet, instead of refusing it.
    pub allow_unsupported: bool,
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
    /// The selection does not fit.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Loads, resolves, expands and selects.
///
/// # Errors
/// [`PrepareError`]; all mistakes of a file come together.
pub fn prepare(asked: &Asked, root: &Path) -> Result<Prepared, PrepareError> {
    let text = read(&asked.pipeline)?;
    let overlays = asked
        .overlays
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<Vec<_>, PrepareError>>()?;
    let name = asked.pipeline.display().to_string();
    let sources: Vec<(&str, &[u8])> = overlays.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
    let loaded = load_pipeline(&name, &text, &sources, &asked.pipeline, asked.allow_unsupported)?;
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
        path: absolute.strip_prefix(root).unwrap_or(&absolute).to_owned(),
        overlays: overlays.iter().map(|(name, text)| (name.clone(), utf8(text.clone()))).collect(),
        allow_unsupported: asked.allow_unsupported,
    };
    let pipeline = loaded.pipeline.as_ref().expect("checked by load_pipeline");
    let resolved = params::resolve(pipeline, &files, &assignments, &Limits::default());
    let Some(params) = resolved.values else { return Err(PrepareError::Params(Box::new(resolved))) };
    assemble(loaded, params, asked.request.clone(), definition, root)
}

/// The same from what a run has kept: its text, its parameters, its selection.
///
/// # Errors
/// As [`prepare`]; on a run's own record only where an incompatible version of runstone wrote it.
pub fn prepare_again(
    definition: Definition,
    params: IndexMap<Name, Scalar>,
    request: Request,
    root: &Path,
) -> Result<Prepared, PrepareError> {
    let name = definition.path.display().to_string();
    let overlays: Vec<(&str, &[u8])> =
        definition.overlays.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let allow = definition.allow_unsupported;
    let loaded = load_pipeline(&name, definition.text.as_bytes(), &overlays, &definition.path, allow)?;
    let declared = &loaded.pipeline.as_ref().expect("checked by load_pipeline").params;
    let params = params.into_iter().map(|(name, value)| {
        let value = declared.get(&name).map_or_else(|| value.clone(), |param| typed(param.kind, &value));
        (name, value)
    });
    let params = params.collect();
    assemble(loaded, params, request, definition, root)
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
) -> Result<Loaded, PrepareError> {
    let stem = path.file_stem().map_or_else(|| "pipeline".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let options = Options { default_name: stem, allow_unsupported, ..Options::default() };
    let loaded = load(&Sources { name, main: text, overlays }, &options);
    if loaded.pipeline.is_some() { Ok(loaded) } else { Err(PrepareError::Pipeline(Box::new(loaded))) }
}

fn assemble(
    loaded: Loaded,
    params: IndexMap<Name, Scalar>,
    request: Request,
    definition: Definition,
    root: &Path,
) -> Result<Prepared, PrepareError> {
    let warnings = loaded.render(runstone_core::spec::Look::default());
    let pipeline = loaded.pipeline.expect("the caller has checked it");
    let graph = Graph::new(&pipeline);
    let selection = select(&pipeline, &graph, &request)?;
    let path = root.join(&definition.path);
    let files = graph
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(index, node)| match &node.work {
            Work::Observe(path) => Some((path.clone(), index)),
            Work::Step(_) => None,
        })
        .collect();
    let folder = path.parent().unwrap_or(root).to_owned();
    Ok(Prepared { pipeline, graph, selection, request, params, folder, definition, files, warnings })
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
