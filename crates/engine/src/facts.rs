//! What is true for every task of a step: its code, its parameters, its Python environment. Found out once a run.

use std::path::Path;

use runstone_core::cell::Cell;
use runstone_core::derivation::PythonLock;
use runstone_core::name::Name;
use runstone_core::record::ContentKind;
use runstone_core::scalar::Scalar;
use runstone_core::spec::model::{Action, Step};
use runstone_core::store::KeptObject;
use runstone_exec::code::{Code, CodeFile, CodeScan};
use runstone_exec::objects::Batch;
use runstone_exec::python::Locked;

use crate::prepare::Prepared;
use crate::site::Site;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct StepFacts {
    /// Its code files; none where it runs no command.
    pub code: Option<Code>,
    /// Parameters the step receives, matrix axes of the same name not yet applied.
    pub params: Vec<(Name, Scalar)>,
    /// Its Python environment, resolved to exact versions.
    pub python: Option<StepPython>,
}

/// A resolved Python environment.
#[derive(Debug, Clone)]
pub struct StepPython {
    /// What decides results.
    pub lock: PythonLock,
    /// What the environment is built from.
    pub locked: Locked,
}

/// Operating system and architecture, such as `linux-x86_64`.
#[must_use]
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

impl StepPython {
    /// Resolves the environment a step asks for. Takes a while the first time; `tell` hears what is being done.
    ///
    /// # Errors
    /// A sentence: no fitting interpreter, requirements that cannot be resolved.
    pub(crate) fn resolve(
        site: &Site,
        folder: &Path,
        step: &Step,
        relock: bool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, String> {
        let wanted = step.python.as_ref().expect("asked only for steps with an environment");
        let locked = site.python.lock(folder, wanted, relock, tell).map_err(|error| crate::text(&error))?;
        Ok(Self { lock: locked.python_lock(), locked })
    }
}

impl StepPython {
    /// The environment a step asks for, where it has been resolved before. Starts no process.
    pub(crate) fn known(site: &Site, folder: &Path, step: &Step) -> Option<Self> {
        let locked = site.python.known(folder, step.python.as_ref()?)?;
        Some(Self { lock: locked.python_lock(), locked })
    }
}

impl StepFacts {
    /// Looks at the step's code and takes a Python environment that is already resolved.
    ///
    /// # Errors
    /// A sentence: code that is declared and not there, files that cannot be read.
    pub(crate) fn gather(
        site: &Site,
        prepared: &Prepared,
        step: &Step,
        python: Option<StepPython>,
    ) -> Result<Self, String> {
        let code = match &step.action {
            Action::Run(command) => {
                let mut scan = CodeScan::new(&prepared.folder, &site.scanner);
                Some(scan.code(command, step.code.as_deref()).map_err(|error| crate::text(&error))?)
            }
            Action::From(_) => None,
        };
        Ok(Self { code, python, ..Self::outline(prepared, step) })
    }

    /// What the pipeline alone says, without a look at any file.
    pub(crate) fn outline(prepared: &Prepared, step: &Step) -> Self {
        let received = |name: &Name| step.params.as_ref().is_none_or(|listed| listed.contains(name));
        let params = prepared.params.iter().filter(|(name, _)| received(name));
        Self { params: params.map(|(name, value)| (name.clone(), value.clone())).collect(), ..Self::default() }
    }

    /// Takes the code and the lock file into the content store, where they stay as proof of what ran.
    ///
    /// # Errors
    /// A sentence: a file that changed since it was hashed, or cannot be read.
    pub(crate) fn keep(&self, site: &Site, folder: &Path, objects: &mut Batch) -> Result<(), String> {
        if let Some(code) = &self.code {
            code.snapshot_into(folder, &site.objects, objects).map_err(|error| crate::text(&error))?;
        }
        if let Some(python) = &self.python {
            site.objects.put_bytes(python.locked.lock_text.as_bytes(), objects).map_err(|error| crate::text(&error))?;
        }
        Ok(())
    }

    /// Code files by path relative to the pipeline's folder.
    pub fn code_files(&self) -> impl Iterator<Item = (&String, &CodeFile)> {
        self.code.iter().flat_map(|code| &code.files)
    }

    /// What must stay available as proof of an attempt.
    #[must_use]
    pub(crate) fn kept(&self) -> Vec<KeptObject> {
        let code = self.code_files().map(|(_, file)| (file.hash, file.size));
        let lock = self.python.iter().map(|python| (python.lock.lock, python.locked.lock_text.len() as u64));
        code.chain(lock).map(|(hash, size)| KeptObject { hash, kind: ContentKind::File, size }).collect()
    }

    /// The parameters of one task: an axis of the same name overrides the value.
    #[must_use]
    pub fn params_for(&self, cell: &Cell) -> Vec<(Name, Scalar)> {
        self.params
            .iter()
            .map(|(name, value)| (name.clone(), cell.get(name.as_str()).unwrap_or(value).clone()))
            .collect()
    }
}
