//! The files in which two folders differ, read from their trees alone: what is equal is not looked into.

use std::cmp::Ordering;

use runstone_core::hash::ContentHash;
use runstone_exec::objects::tree::{TreeEntry, TreeItem};
use runstone_exec::objects::{ObjectError, ObjectStore};
use serde::Serialize;

/// How many changes are listed, at most. All are counted.
const LISTED: usize = 1000;

/// A file, link or folder that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Path within the folder; bytes that are no text are replaced.
    pub path: String,
    /// Absent where it was added.
    pub old: Option<FileView>,
    /// Absent where it was removed.
    pub new: Option<FileView>,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileView {
    /// `file`, `executable`, `link` or `dir`.
    pub kind: &'static str,
    /// Content, of a link its text.
    pub content: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// In which files two folders differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FilesDiff {
    /// How many are new. What is in a folder that is new as a whole counts one by one.
    pub added: u64,
    /// How many are gone.
    pub removed: u64,
    /// How many are other ones.
    pub changed: u64,
    /// The first of them, by path.
    pub list: Vec<FileChange>,
}

/// Compares two folders.
///
/// # Errors
/// Where a node of a tree is not in the store, or cannot be read.
pub fn changed_files(objects: &ObjectStore, old: ContentHash, new: ContentHash) -> Result<FilesDiff, ObjectError> {
    let mut diff = FilesDiff::default();
    let mut todo = vec![(String::new(), Some(old), Some(new))];
    while let Some((path, old, new)) = todo.pop() {
        if old == new {
            continue;
        }
        let entries = |tree: Option<ContentHash>| tree.map_or(Ok(Vec::new()), |tree| objects.entries(tree));
        let mut deeper = Vec::new();
        for (old, new) in pairs(entries(old)?, entries(new)?) {
            let name = old.as_ref().or(new.as_ref()).map(|entry| &entry.name).expect("a pair has one of both");
            let path = join(&path, name);
            let item = |entry: &Option<TreeEntry>| entry.as_ref().map(|entry| entry.item.clone());
            diff.compare(&path, item(&old).as_ref(), item(&new).as_ref(), &mut deeper);
        }
        // What comes first is looked into first.
        todo.extend(deeper.into_iter().rev());
    }
    Ok(diff)
}

type Deeper = Vec<(String, Option<ContentHash>, Option<ContentHash>)>;

impl FilesDiff {
    fn compare(&mut self, path: &str, old: Option<&TreeItem>, new: Option<&TreeItem>, deeper: &mut Deeper) {
        if old == new {
            return;
        }
        let folder = |item: Option<&TreeItem>| match item {
            Some(TreeItem::Dir { hash, .. }) => Some(*hash),
            _ => None,
        };
        let (old_folder, new_folder) = (folder(old), folder(new));
        if old_folder.is_some() || new_folder.is_some() {
            deeper.push((path.to_owned(), old_folder, new_folder));
        }
        let (old, new) = (old.and_then(view), new.and_then(view));
        match (&old, &new) {
            (None, None) => return,
            (None, Some(_)) => self.added += 1,
            (Some(_), None) => self.removed += 1,
            (Some(_), Some(_)) => self.changed += 1,
        }
        if self.list.len() < LISTED {
            self.list.push(FileChange { path: path.to_owned(), old, new });
        }
    }
}

/// A folder is seen by what is in it.
fn view(item: &TreeItem) -> Option<FileView> {
    let (kind, content) = match item {
        TreeItem::File { hash, executable: false, .. } => ("file", hash.to_string()),
        TreeItem::File { hash, executable: true, .. } => ("executable", hash.to_string()),
        TreeItem::Symlink { target } => ("link", String::from_utf8_lossy(target).into_owned()),
        TreeItem::Dir { .. } => return None,
    };
    Some(FileView { kind, content, size_bytes: item.size() })
}

fn join(path: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") }
}

/// Entries of two sorted lists side by side, those of one name together.
fn pairs(old: Vec<TreeEntry>, new: Vec<TreeEntry>) -> Vec<(Option<TreeEntry>, Option<TreeEntry>)> {
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.name.cmp(&b.name),
        };
        pairs.push(match order {
            Ordering::Less => (old.next(), None),
            Ordering::Greater => (None, new.next()),
            Ordering::Equal => (old.next(), new.next()),
        });
    }
}
