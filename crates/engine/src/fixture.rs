//! A project in a folder of its own, for unit tests.

use std::collections::HashMap;
use std::sync::Arc;

use runstone_core::cell::Cell;
use runstone_core::hash::ContentHash;
use runstone_core::record::{ContentKind, NodeId};
use runstone_core::store::PinSource;
use runstone_exec::objects::{Batch, Expect, Limits};
use tempfile::TempDir;

use crate::derive::{Derived, Items, View};
use crate::facts::StepFacts;
use crate::ledger::{Entry, Ledger, Published};
use crate::pins::External;
use crate::prepare::{Asked, Home, Prepared, prepare};
use crate::project::{Overrides, Project};
use crate::site::Site;

/// A prepared pipeline with a ledger to fill.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) site: Site,
    pub(crate) prepared: Prepared,
    pub(crate) ledger: Ledger,
    pub(crate) external: External,
    pub(crate) items: HashMap<usize, Items>,
}

impl Fixture {
    pub(crate) fn new(pipeline: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pipeline.yaml"), pipeline).unwrap();
        let asked = Asked { pipeline: folder.path().join("pipeline.yaml"), ..Asked::default() };
        let project = Project::open_or_create(folder.path(), &asked.pipeline, None, &Overrides::default()).unwrap();
        let prepared = prepare(&asked, &Home::of(&project)).unwrap();
        let environment =
            HashMap::from([("PATH".to_owned(), "/bin".to_owned()), ("SECRET".to_owned(), "s3cret".to_owned())]);
        let site = Site::open(project, &prepared.folder, environment).unwrap();
        let ledger = Ledger::new(prepared.graph.nodes.len());
        Self { folder, site, prepared, ledger, external: External::new(), items: HashMap::new() }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View { prepared: &self.prepared, ledger: &self.ledger, external: &self.external, items: &self.items }
    }

    pub(crate) fn node(&self, step: &str) -> usize {
        self.prepared.pipeline.steps.get_index_of(step).unwrap()
    }

    /// Stores a file and says how a publication of it looks.
    pub(crate) fn file(&self, output: &str, text: &str) -> Published {
        let mut batch = Batch::default();
        let hash = self.site.objects.put_bytes(text.as_bytes(), &mut batch).unwrap();
        self.site.objects.sync(batch).unwrap();
        published(output, hash, ContentKind::File, text.len() as u64)
    }

    /// Stores a folder of small files.
    pub(crate) fn dir(&self, output: &str, files: &[(&str, &str)]) -> Published {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join("out").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("out")).unwrap();
        let mut batch = Batch::default();
        let found =
            self.site.objects.collect(folder.path(), "out".as_ref(), Expect::Dir, Limits::NONE, &mut batch).unwrap();
        self.site.objects.sync(batch).unwrap();
        published(output, found.hash, ContentKind::Dir, found.size)
    }

    /// Enters what a step came to.
    pub(crate) fn enter(&mut self, step: &str, cell: &str, outputs: Vec<Published>) {
        let entry = Entry { task: None, cell: Cell::parse(cell), outputs, metrics: Vec::new() };
        self.ledger.enter(self.node(step), entry);
    }

    pub(crate) fn derive(&self, step: &str, cell: &str) -> Result<Derived, String> {
        let node = self.node(step);
        let step = &self.prepared.pipeline.steps[node];
        let facts = Arc::new(StepFacts::gather(&self.site, &self.prepared, step, None)?);
        self.view().derive(node, step, &Cell::parse(cell), &facts)
    }
}

fn published(output: &str, hash: ContentHash, kind: ContentKind, size: u64) -> Published {
    let source = PinSource::Materialization(NodeId(1));
    Published { output: output.to_owned(), source, hash, kind, size, file_name: output.to_owned(), tainted: false }
}
