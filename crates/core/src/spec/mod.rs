//! From YAML text to a checked [`Pipeline`]: the whole language, and nothing about running it.
//!
//! `bytes → yaml (tree with places) → overlay → shape (keys, types) → decode (meaning, references, cycles) → Pipeline`.
//! Every stage reports all errors it can instead of stopping at the first, except that nothing certain can be said
//! about a file after an error of its syntax.

mod cycle;
mod decode;
pub mod diagnostic;
mod fields;
mod ingest;
pub mod model;
mod normalize;
mod overlay;
pub mod params;
mod reference;
mod render;
mod schema;
mod shape;
pub mod source;
pub(crate) mod suggest;
pub(crate) mod values;
pub mod yaml;

use std::collections::HashMap;

pub use diagnostic::{Code, Diagnostic, Severity};
pub use model::Pipeline;
pub use reference::reference;
pub use render::{Look, render};
pub use schema::schema;
pub use source::{SourceMap, Span};
pub use yaml::Limits;

use diagnostic::Diagnostics;
use yaml::{Node, Tree};

/// How many diagnostics of one definition are kept.
pub const DIAGNOSTICS: usize = 50;

/// What to load, already read.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The name of the pipeline file in messages.
    pub name: &'a str,
    /// Its content.
    pub main: &'a [u8],
    /// Names and contents of overlays, laid over it one after the other.
    pub overlays: &'a [(&'a str, &'a [u8])],
}

/// How to load it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The pipeline's name where the file does not say: the stem of the file's name.
    pub default_name: String,
    /// Warn of what is not supported yet, instead of refusing it.
    pub allow_unsupported: bool,
    /// Pools that the project has, beside those that a pipeline declares. None admits any: for a text that was good once.
    pub pools: Option<Vec<String>>,
    /// Bounds of each file.
    pub limits: Limits,
    /// The most steps a pipeline may have.
    pub max_steps: usize,
    /// The most cells that the matrices of a pipeline may have together.
    pub max_cells: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            default_name: "pipeline".to_owned(),
            allow_unsupported: false,
            pools: Some(Vec::new()),
            limits: Limits::default(),
            max_steps: 200_000,
            max_cells: 200_000,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Loaded {
    /// The pipeline; none where there is any error.
    pub pipeline: Option<Pipeline>,
    /// Errors and warnings, errors first, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there were.
    pub hidden: usize,
    /// The texts that diagnostics and later messages point into.
    pub sources: SourceMap,
    steps: HashMap<String, Span>,
}

impl Loaded {
    /// Where the step of this name is defined.
    #[must_use]
    pub fn step_span(&self, step: &str) -> Option<Span> {
        self.steps.get(step).copied()
    }

    /// All diagnostics as text.
    #[must_use]
    pub fn render(&self, look: Look) -> String {
        render(&self.diagnostics, self.hidden, &self.sources, look)
    }
}

/// Loads a pipeline. Time and memory are bounded by the limits, whatever the bytes are.
#[must_use]
pub fn load(input: &Sources<'_>, options: &Options) -> Loaded {
    let mut diagnostics = Diagnostics::new(DIAGNOSTICS);
    let mut sources = SourceMap::default();
    read(&mut sources, input.name, input.main, &options.limits, &mut diagnostics);
    for (name, bytes) in input.overlays {
        read(&mut sources, name, bytes, &options.limits, &mut diagnostics);
    }
    let mut steps = HashMap::new();
    let pipeline = if diagnostics.has_errors() { None } else { build(&sources, options, &mut steps, &mut diagnostics) };
    let pipeline = pipeline.filter(|_| !diagnostics.has_errors());
    let (diagnostics, hidden) = diagnostics.finish();
    Loaded { pipeline, diagnostics, hidden, sources, steps }
}

/// Adds a file to `sources` if it is of allowed size and UTF-8.
fn read(sources: &mut SourceMap, name: &str, bytes: &[u8], limits: &Limits, diagnostics: &mut Diagnostics) {
    if bytes.len() > limits.file_bytes {
        let file = sources.add(name, "");
        let message = format!("the file has {} bytes, more than {}", bytes.len(), limits.file_bytes);
        return diagnostics.push(Diagnostic::error(Code::TooLarge, Span::new(file, 0, 0), message));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => drop(sources.add(name, text)),
        Err(error) => {
            let at = error.valid_up_to();
            let file = sources.add(name, String::from_utf8_lossy(bytes));
            let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
            let message = format!("byte {:#04x} at offset {at} is not UTF-8", bytes[at]);
            diagnostics.push(
                Diagnostic::error(Code::NotUtf8, Span::new(file, at, end), message).help("save the file as UTF-8"),
            );
        }
    }
}

fn build(
    sources: &SourceMap,
    options: &Options,
    steps: &mut HashMap<String, Span>,
    diagnostics: &mut Diagnostics,
) -> Option<Pipeline> {
    let mut tree = Tree::default();
    let mut roots = Vec::new();
    for (at, source) in sources.files().iter().enumerate() {
        let file = u16::try_from(at).expect("a source map counts its files in 16 bits");
        roots.push(yaml::parse(&mut tree, file, &source.text, &options.limits, diagnostics));
    }
    let roots: Vec<_> = roots.into_iter().collect::<Option<_>>()?;
    let root = roots.into_iter().reduce(|base, over| overlay::merge(&mut tree, base, over, diagnostics))?;
    let root = tree.node(root);
    let mut shapes = shape::Shapes { diagnostics, allow_unsupported: options.allow_unsupported };
    shapes.document(root);
    steps.extend(
        root.get("steps").into_iter().flat_map(Node::entries).map(|(key, _)| (key.key().to_owned(), key.span())),
    );
    decode::pipeline(root, sources, options, diagnostics)
}
