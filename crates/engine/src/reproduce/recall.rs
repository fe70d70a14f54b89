//! From the record of an attempt back to what was asked of it, in a place of its own: definition, parameters, code, locks,
//! inputs, all as they are on record and none as they are today.
//!
//! What is worked out must have exactly the recorded fingerprint. Everything that stands in the way is collected, so that
//! it is told at once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use runstone_core::canonical::{self, Value};
use runstone_core::cell::task_name;
use runstone_core::derivation::{self, Materials};
use runstone_core::executor::SecretEnv;
use runstone_core::hash::ContentHash;
use runstone_core::record::{MaterializationRecord, RunRecord};
use runstone_core::spec::model::{Action, InputRef, Kind, Step};
use runstone_core::store::{RunRef, Store, StoreError};
use runstone_exec::objects::{ObjectError, ObjectKind, Overwrite};
use runstone_exec::scan::Scanner;

use super::ReproduceError;
use super::closure::Link;
use super::pinned::derive;
use super::scratch::Room;
use crate::derive::{Derived, Thing};
use crate::facts::StepPython;
use crate::prepare::{Home, Prepared};
use crate::recorded::Recorded;
use crate::site::Site;

/// The largest lock file, in bytes.
const MAX_LOCK: u64 = 16 << 20;

/// An attempt that is ready to be done again.
pub(super) struct Recalled {
    /// With eyes for the scratch place.
    pub(super) site: Site,
    pub(super) prepared: Prepared,
    pub(super) step: Arc<Step>,
    pub(super) derived: Arc<Derived>,
    pub(super) secrets: SecretEnv,
    /// The pipeline's own folder where it is still there: relative places in lock files lead from it.
    pub(super) origin: PathBuf,
}

/// Why it cannot be done again, each reason in words.
pub(super) type Missing = Vec<String>;

/// Recalls an attempt of kind `run` into a room of its own.
///
/// # Errors
/// [`ReproduceError`] where the record cannot be read or the room cannot be made.
pub(super) fn recall(
    site: &Site,
    store: &mut dyn Store,
    link: &Link,
    room: &Room,
) -> Result<Result<Recalled, Missing>, ReproduceError> {
    let run = store.run(&RunRef::Prefix(link.attempt.run.to_string()))?;
    let run = run.ok_or_else(|| StoreError::Damaged(format!("run #{} is missing", link.attempt.run_number)))?;
    let asked = match asked(store, link)? {
        Ok(asked) => asked,
        Err(reason) => return Ok(Err(vec![reason])),
    };
    let prepared = match prepared(store, &run, &room.root())? {
        Ok(prepared) => prepared,
        Err(reason) => return Ok(Err(vec![reason])),
    };
    let Some(node) = prepared.pipeline.steps.get_index_of(link.attempt.step.as_str()) else {
        return Ok(Err(vec![format!("the definition on record has no step `{}`", link.attempt.step)]));
    };
    let step = &prepared.pipeline.steps[node];
    let (Action::Run(_), Some(materials)) = (&step.action, Materials::of(&asked)) else {
        return Ok(Err(vec!["what was asked is on record in a form that this runstone does not know".to_owned()]));
    };
    if step.kind == Kind::Deploy {
        return Ok(Err(vec!["a step of kind `deploy` acts on the world, so it is not done again".to_owned()]));
    }
    std::fs::create_dir_all(&prepared.folder)
        .and_then(|()| std::fs::create_dir_all(room.state()))
        .map_err(ReproduceError::folder(&prepared.folder))?;
    let scanner = Scanner::new(&prepared.folder, &room.state()).map_err(|error| ReproduceError::objects(&error))?;
    let site = Site { scanner: Arc::new(scanner), ..site.clone() };

    let mut missing = code(&site, &materials, &prepared.folder, &room.root())?;
    let origin = Some(site.project.folder_of(&run.definition_path)).filter(|folder| folder.is_dir());
    let origin = origin.unwrap_or_else(|| prepared.folder.clone());
    let python = python(&site, &materials, &origin);
    let python = python.map_err(|reason| missing.push(reason)).unwrap_or_default();
    let secrets = site.secrets(step).map_err(|reason| missing.push(reason)).unwrap_or_default();
    // Of a folder that is gone through only the item is read, which is known below.
    let is_item = |slot: &str| step.inputs.get(slot).is_some_and(|input| input.from == InputRef::Item);
    let (items, whole): (Vec<_>, Vec<_>) = link.reads.iter().partition(|(slot, _)| is_item(slot));
    missing.extend(inputs(&site, whole)?);
    if !missing.is_empty() {
        if run.store_marker != site.objects.marker() {
            missing.push(format!("run #{} keeps its objects in another content store than this one", run.number));
        }
        return Ok(Err(missing));
    }
    let derived = match derive(&site, store, &prepared, node, link, python)? {
        Ok(derived) => derived,
        Err(reason) => {
            let missing = inputs(&site, items)?;
            return Ok(Err(if missing.is_empty() { vec![reason] } else { missing }));
        }
    };
    if derived.fingerprint != link.attempt.fingerprint {
        return Ok(Err(otherwise(&asked, &derived)));
    }
    for (slot, item) in derived.things().filter(|(slot, _)| is_item(slot.as_str())) {
        if !is_there(&site, item)? {
            missing.push(format!("input `{slot}`: {} ({}) is gone", item.file_name, short(item.hash)));
        }
    }
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    let step = Arc::new(step.clone());
    Ok(Ok(Recalled { site, prepared, step, derived: Arc::new(derived), secrets, origin }))
}

/// Inputs whose bytes are gone.
fn inputs(site: &Site, reads: Vec<&(String, MaterializationRecord)>) -> Result<Missing, ReproduceError> {
    let mut missing = Vec::new();
    for (slot, read) in reads {
        if !is_there(site, &Thing::from(read))? {
            missing.push(format!("input `{slot}`: {}", gone(read)));
        }
    }
    Ok(missing)
}

fn is_there(site: &Site, thing: &Thing) -> Result<bool, ReproduceError> {
    Ok(site.holder(thing).map_err(|error| ReproduceError::objects(&error))?.is_some())
}

/// What was asked, as it was hashed.
fn asked(store: &mut dyn Store, link: &Link) -> Result<Result<Value, String>, StoreError> {
    let fingerprint = link.attempt.fingerprint;
    let Some(bytes) = store.derivation(&fingerprint)? else {
        return Ok(Err("what was asked is not on record".to_owned()));
    };
    if derivation::fingerprint(&bytes) != fingerprint {
        return Err(StoreError::Damaged(format!("the derivation on record does not have fingerprint {fingerprint}")));
    }
    Ok(canonical::decode(&bytes).map_err(|error| format!("what was asked cannot be read: {error}")))
}

/// The pipeline as it was, below `root` where it lay in the project.
fn prepared(store: &mut dyn Store, run: &RunRecord, root: &Path) -> Result<Result<Prepared, String>, StoreError> {
    let mut recorded = match Recorded::read(store, run) {
        Ok(recorded) => recorded,
        Err(StoreError::Damaged(reason)) => return Ok(Err(reason)),
        Err(error) => return Err(error),
    };
    recorded.definition.path = inside(&recorded.definition.path);
    let home = Home { root: root.to_owned(), pools: None };
    Ok(match recorded.prepare(&home) {
        Ok((prepared, _)) => Ok(prepared),
        Err(error) => Err(format!("the definition on record cannot be used: {}", crate::text(&error))),
    })
}

/// Where a pipeline file belongs below the root; one that lay outside of the project stands in the root itself.
fn inside(path: &Path) -> PathBuf {
    place_below(Path::new("/"), Path::new("/"), &path.to_string_lossy())
        .and_then(|place| place.strip_prefix("/").map(Path::to_owned).ok())
        .unwrap_or_else(|| path.file_name().map(PathBuf::from).unwrap_or_default())
}

/// Lays the code out as it was. Returns what of it cannot be had.
fn code(site: &Site, materials: &Materials, folder: &Path, root: &Path) -> Result<Missing, ReproduceError> {
    let mut missing = Vec::new();
    for (path, hash) in &materials.code {
        let Some(place) = place_below(root, folder, path) else {
            missing.push(format!("code file {path} lies outside of the project"));
            continue;
        };
        match site.objects.restore(*hash, ObjectKind::File, &place, Overwrite::Refuse) {
            // A content store keeps bytes and no modes; a program that is started by its name must be one.
            Ok(()) => std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755))
                .map_err(ReproduceError::folder(&place))?,
            Err(ObjectError::NotStored { .. } | ObjectError::Altered { .. }) => {
                missing.push(format!("code file {path} ({}) is gone", short(*hash)));
            }
            Err(error) => return Err(ReproduceError::objects(&error)),
        }
    }
    Ok(missing)
}

/// Where a path that is relative to `folder` leads, if it never leaves `root`, in which `folder` lies.
fn place_below(root: &Path, folder: &Path, path: &str) -> Option<PathBuf> {
    let mut place = folder.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => place.push(name),
            Component::CurDir => {}
            Component::ParentDir if place == root => return None,
            Component::ParentDir => _ = place.pop(),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(place)
}

/// The Python environment of the lock that was kept. Relative places in it are those of `folder`.
fn python(site: &Site, materials: &Materials, folder: &Path) -> Result<Option<StepPython>, String> {
    let Some(recorded) = &materials.python else { return Ok(None) };
    let text = site.objects.read_verified(recorded.lock, MAX_LOCK).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| format!("the lock of its Python environment ({}) is gone", short(recorded.lock)))?;
    let locked = site.python.recall(folder, recorded, text).map_err(|error| crate::text(&error))?;
    Ok(Some(StepPython { lock: locked.python_lock(), locked }))
}

/// In what respect something else would be asked.
fn otherwise(asked: &Value, derived: &Derived) -> Missing {
    let Ok(now) = canonical::decode(&derived.canonical) else { return Vec::new() };
    let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    canonical::diff(asked, &now)
        .iter()
        .map(|change| format!("{} would be {} instead of {}", change.path, side(&change.new), side(&change.old)))
        .collect()
}

/// A publication whose bytes are gone.
pub(super) fn gone(record: &MaterializationRecord) -> String {
    let name = task_name(&record.dataset, &record.subset);
    format!("{name}@v{} ({}) is gone", record.version, short(record.hash))
}

/// `b3:` and twelve digits.
fn short(hash: ContentHash) -> String {
    format!("{}{}", runstone_core::hash::CONTENT_PREFIX, hash.short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn what_would_be_asked_otherwise_is_told_field_by_field() {
        let fixture = Fixture::new("pipeline: p\nparams: {n: 3}\nsteps: {a: {run: 'true'}}\n");
        let derived = fixture.derive("a", "").unwrap();
        let Value::Map(mut fields) = canonical::decode(&derived.canonical).unwrap() else { panic!("a record") };
        assert_eq!(otherwise(&Value::Map(fields.clone()), &derived), [""; 0]);
        fields.insert("platform".to_owned(), Value::text("beos-alpha"));
        fields.insert("cell".to_owned(), Value::map([("lr", Value::Float(0.5))]));
        let platform = crate::facts::platform();
        let expected = [
            "cell would be nothing instead of {\"lr\":0.5}".to_owned(),
            format!("platform would be \"{platform}\" instead of \"beos-alpha\""),
        ];
        assert_eq!(otherwise(&Value::Map(fields), &derived), expected);
    }

    #[test]
    fn code_stays_below_the_root() {
        let (root, folder) = (Path::new("/s/project"), Path::new("/s/project/pipelines/a"));
        let place = |path: &str| place_below(root, folder, path).map(|path| path.display().to_string());
        assert_eq!(place("run.py").unwrap(), "/s/project/pipelines/a/run.py");
        assert_eq!(place("../lib/x.py").unwrap(), "/s/project/pipelines/lib/x.py");
        assert_eq!(place("../../x.py").unwrap(), "/s/project/x.py");
        for path in ["../../../x.py", "/etc/passwd", "../../../project/x.py"] {
            assert_eq!(place(path), None, "{path}");
        }
    }

    #[test]
    fn a_pipeline_has_its_place_below_the_root() {
        for (path, expected) in [
            ("pipeline.yaml", "pipeline.yaml"),
            ("a/../b/p.yaml", "b/p.yaml"),
            ("../b/p.yaml", "p.yaml"),
            ("/data/p.yaml", "p.yaml"),
        ] {
            assert_eq!(inside(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
