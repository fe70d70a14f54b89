//! Reading sources: what Runstone does itself for `from:` and for files that steps name by path.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use runstone_core::attempt::Cause;
use runstone_core::machine::Failure;
use runstone_core::spec::model::Source;
use runstone_exec::fetch;
use runstone_exec::objects::{Batch, Collected, Limits, ObjectError};
use runstone_exec::scan::{PatternError, Scan, SourcePattern};

use crate::site::Site;
use crate::tables::{self, Remembered};

/// What a source held.
#[derive(Debug)]
pub(crate) struct ReadContent {
    pub(crate) content: Collected,
    /// The name under which readers see it.
    pub(crate) file_name: String,
    /// What is in the store and not durable yet.
    pub(crate) objects: Batch,
    /// What is known of it, where it is a table.
    pub(crate) table: Option<Remembered>,
}

/// A path or glob of a pipeline in `folder`. One that leads out of the folder is taken as the absolute path it means.
pub(crate) fn pattern(folder: &Path, path: &str) -> Result<SourcePattern, PatternError> {
    if Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
        return SourcePattern::parse(&resolved(folder, path).to_string_lossy());
    }
    SourcePattern::parse(path)
}

/// Reads a source of a pipeline in `folder` into the content store.
///
/// # Errors
/// A [`Failure`] to be tried again or put on record.
pub(crate) fn read(site: &Site, folder: &Path, source: &Source) -> Result<ReadContent, Failure> {
    match source {
        Source::Path(path) => read_path(site, folder, path),
        Source::Url(url) => read_url(site, url),
    }
}

fn read_path(site: &Site, folder: &Path, path: &str) -> Result<ReadContent, Failure> {
    let pattern = pattern(folder, path).map_err(|error| failure(Cause::Internal, crate::text(&error)))?;
    let scan = scan(site, &pattern)?;
    let mut objects = Batch::default();
    let content = scan.snapshot_into(&site.objects, &mut objects).map_err(|error| unreadable(&error))?;
    let file_name = file_name(&pattern);
    let table = tables::remember(site, &content, &file_name);
    Ok(ReadContent { content, file_name, objects, table })
}

/// Looks at a source, without taking anything of it.
///
/// # Errors
/// A [`Failure`], with cause `missing_output` where nothing is there.
pub(crate) fn scan(site: &Site, pattern: &SourcePattern) -> Result<Scan, Failure> {
    let scan = site.scanner.scan(pattern, Limits::default()).map_err(|error| unreadable(&error))?;
    if pattern.is_glob() && scan.content().files == 0 {
        return Err(failure(Cause::MissingOutput, format!("no file matches {}", pattern.as_str())));
    }
    Ok(scan)
}

/// A file keeps its name, a folder too; the files of a glob are named after the folder they are in.
fn file_name(pattern: &SourcePattern) -> String {
    let name = pattern.base().file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| name != "." && name != "..").unwrap_or_else(|| "files".to_owned())
}

fn read_url(site: &Site, url: &str) -> Result<ReadContent, Failure> {
    let folder = Downloads::new(site).map_err(|error| failure(Cause::Internal, crate::text(&error)))?;
    let fetched = fetch::fetch(url, &folder.0, None, &fetch::FetchLimits::default(), &mut |_| stopped(site))
        .map_err(|error| failure(Cause::Internal, crate::text(&error)))?;
    let fetch::Fetched::File(file) = fetched else {
        return Err(failure(Cause::Internal, format!("{url} answered that nothing changed, which was not asked")));
    };
    let mut objects = Batch::default();
    let content =
        site.objects.import_file(&file.path, Limits::default(), &mut objects).map_err(|error| unreadable(&error))?;
    let table = tables::remember(site, &content, &file.file_name);
    Ok(ReadContent { content, file_name: file.file_name, objects, table })
}

/// Whether a download is to go on.
fn stopped(site: &Site) -> ControlFlow<()> {
    if site.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A private folder for one download, removed when it goes out of scope.
struct Downloads(PathBuf);

impl Downloads {
    fn new(site: &Site) -> std::io::Result<Self> {
        let folder = site.project.cache_dir().join(format!("download-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        // Left-overs lie in the cache, where the next clean-up finds them.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unreadable(error: &ObjectError) -> Failure {
    let cause = match error {
        ObjectError::Missing { .. } => Cause::MissingOutput,
        _ if error.is_no_space() => Cause::NoSpace,
        _ => Cause::Internal,
    };
    failure(cause, crate::text(error))
}

pub(crate) fn failure(cause: Cause, message: String) -> Failure {
    Failure { cause, exit_code: None, message }
}

/// The name of the dataset for a file that steps name by path: its place in the project, so that two pipelines that
/// read one file speak of one dataset.
pub(crate) fn observed_dataset(root: &Path, folder: &Path, path: &str) -> String {
    let clean = resolved(folder, path);
    match clean.strip_prefix(root) {
        Ok(inside) => format!("./{}", inside.display()),
        Err(_) => clean.display().to_string(),
    }
}

/// `folder/path` without `.` and `..`, by the text alone.
fn resolved(folder: &Path, path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => _ = clean.pop(),
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_one_dataset_however_it_is_named() {
        let (root, folder) = (Path::new("/p"), Path::new("/p/a/b"));
        assert_eq!(observed_dataset(root, folder, "./x.csv"), "./a/b/x.csv");
        assert_eq!(observed_dataset(root, folder, "../b/./x.csv"), "./a/b/x.csv");
        assert_eq!(observed_dataset(root, folder, "/data/x.csv"), "/data/x.csv");
        assert_eq!(observed_dataset(root, folder, "../../../x.csv"), "/x.csv");
    }
}
