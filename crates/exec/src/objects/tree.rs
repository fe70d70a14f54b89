//! Directory trees as bytes: what a node holds, its one encoding, and the names and links it may contain.
//!
//! Pure: knows no files. The format is specified in `docs/design/hashing.md`; splitting a large directory
//! into nodes is next door in [`split`](super::split).

use runstone_core::hash::ContentHash;

/// Domain of the node hash (BLAKE3 `derive_key`), so that no file can have the hash of a tree.
pub const TREE_CONTEXT: &str = "runstone 2026 tree v1";

/// First bytes of every node; the last digit is the version of the encoding.
const MAGIC: &[u8; 8] = b"rs-tree1";
/// Bytes before the first item: magic, level, number of items.
const HEADER: usize = MAGIC.len() + 1 + 4;
/// No encoded node is larger: readers refuse before they allocate.
pub const MAX_NODE_BYTES: u64 = 64 << 20;
/// The longest file name, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest text of a symbolic link, in bytes.
pub const MAX_LINK: usize = 4095;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The raw bytes of the name; any bytes but `/` and NUL, not `.` or `..`.
    pub name: Vec<u8>,
    /// What is under the name.
    pub item: TreeItem,
}

/// What is under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeItem {
    /// A regular file.
    File {
        /// BLAKE3 of the bytes.
        hash: ContentHash,
        /// Bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link, kept as its text and never followed.
    Symlink {
        /// The text.
        target: Vec<u8>,
    },
    /// A directory.
    Dir {
        /// Hash of its root node.
        hash: ContentHash,
        /// Bytes of all files and link texts below.
        size: u64,
    },
}

impl TreeItem {
    /// Bytes of content: of the file, the link's text, or everything below a directory.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Dir { size, .. } => *size,
            Self::Symlink { target } => target.len() as u64,
        }
    }
}

/// A reference from an index node to a node one level below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The last name below.
    pub last: Vec<u8>,
    /// Directory entries below.
    pub entries: u64,
    /// Bytes of content below.
    pub size: u64,
    /// Hash of the node.
    pub hash: ContentHash,
}

/// A node: all entries of a small directory, or a part of a large one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Entries, strictly increasing by name.
    Leaf(Vec<TreeEntry>),
    /// Nodes of the level below, strictly increasing by last name.
    Index {
        /// Height above the leaves, from 1.
        level: u8,
        /// At least one.
        children: Vec<Child>,
    },
}

/// Why a file name cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, `.` or `..`.
    #[error("a name must not be empty, '.' or '..'")]
    Reserved,
    /// `/` or NUL.
    #[error("a name must not contain '/' or NUL")]
    Character,
    /// Longer than [`MAX_NAME`].
    #[error("a name has at most {MAX_NAME} bytes")]
    TooLong,
}

/// Why bytes are not a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Not the magic of a version that is understood.
    #[error("the bytes do not start like a tree node of a known version")]
    Magic,
    /// Fewer or more bytes than the items need.
    #[error("the node is cut off or has bytes left over")]
    Length,
    /// An unknown type byte.
    #[error("unknown entry type {0:#04x}")]
    Type(u8),
    /// A name that no directory can hold.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A link text that is empty, too long or holds NUL.
    #[error("impossible text of a symbolic link")]
    Link,
    /// Names out of order or twice.
    #[error("the names are not strictly increasing")]
    Order,
    /// An index that does not agree with the node below it.
    #[error("an index node does not agree with the node below it")]
    Index,
    /// Sizes whose sum does not fit 64 bits.
    #[error("the sum of sizes overflows")]
    Overflow,
}

/// The hash of an encoded node. The hash of a directory is that of its root node.
#[must_use]
pub fn node_hash(encoded: &[u8]) -> ContentHash {
    ContentHash::from_bytes(blake3::derive_key(TREE_CONTEXT, encoded))
}

/// Whether `bytes` start like a node. Says nothing about the rest.
#[must_use]
pub fn looks_like_node(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC[..7])
}

/// Checks a file name.
///
/// # Errors
/// [`NameError`] says what does not fit.
pub fn check_name(name: &[u8]) -> Result<(), NameError> {
    if matches!(name, b"" | b"." | b"..") {
        return Err(NameError::Reserved);
    }
    if name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(NameError::Character);
    }
    if name.len() > MAX_NAME { Err(NameError::TooLong) } else { Ok(()) }
}

/// Whether a link with this text, in a directory `depth` levels below the root, provably stays inside the root.
///
/// `..` is allowed at the start only: behind a name it could climb from wherever another link leads, so that
/// the text alone would prove nothing. With this rule each step of a resolution stays inside, by induction.
#[must_use]
pub fn link_stays_inside(depth: usize, target: &[u8]) -> bool {
    if target.is_empty() || target.len() > MAX_LINK || target[0] == b'/' || target.contains(&0) {
        return false;
    }
    let mut climbs = 0;
    let mut named = false;
    for component in target.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if named => return false,
            b".." => climbs += 1,
            _ => named = true,
        }
    }
    climbs <= depth
}

impl Node {
    /// Height above the leaves; a leaf has 0.
    #[must_use]
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Index { level, .. } => *level,
        }
    }

    /// What an index one level up says about this node; none for an empty leaf.
    ///
    /// # Errors
    /// [`NodeError::Overflow`].
    pub fn as_child(&self, hash: ContentHash) -> Result<Option<Child>, NodeError> {
        let (last, entries) = match self {
            Self::Leaf(entries) => (entries.last().map(|entry| &entry.name), entries.len() as u64),
            Self::Index { children, .. } => {
                let entries = sum(children.iter().map(|child| child.entries))?;
                (children.last().map(|child| &child.last), entries)
            }
        };
        let size = self.size()?;
        Ok(last.map(|last| Child { last: last.clone(), entries, size, hash }))
    }

    /// Bytes of content below.
    ///
    /// # Errors
    /// [`NodeError::Overflow`].
    pub fn size(&self) -> Result<u64, NodeError> {
        match self {
            Self::Leaf(entries) => sum(entries.iter().map(|entry| entry.item.size())),
            Self::Index { children, .. } => sum(children.iter().map(|child| child.size)),
        }
    }

    /// The one encoding of this node.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + 64);
        out.extend_from_slice(MAGIC);
        out.push(self.level());
        match self {
            Self::Leaf(entries) => {
                put_len(&mut out, entries.len());
                for entry in entries {
                    put_entry(&mut out, entry);
                }
            }
            Self::Index { children, .. } => {
                put_len(&mut out, children.len());
                for child in children {
                    put_text(&mut out, &child.last);
                    out.extend_from_slice(&child.entries.to_le_bytes());
                    out.extend_from_slice(&child.size.to_le_bytes());
                    out.extend_from_slice(child.hash.as_bytes());
                }
            }
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote. Accepts nothing else: `encode(decode(b)) == b`.
    ///
    /// # Errors
    /// [`NodeError`] says what does not fit.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        let mut input = Input(bytes.strip_prefix(MAGIC).ok_or(NodeError::Magic)?);
        let level = input.take::<1>()?[0];
        let count = u32::from_le_bytes(input.take()?);
        let node = if level == 0 {
            let entries = (0..count).map(|_| input.entry()).collect::<Result<Vec<_>, _>>()?;
            ordered(entries.iter().map(|entry| &entry.name))?;
            Self::Leaf(entries)
        } else {
            let children = (0..count).map(|_| input.child()).collect::<Result<Vec<_>, _>>()?;
            ordered(children.iter().map(|child| &child.last))?;
            if children.is_empty() {
                return Err(NodeError::Index);
            }
            Self::Index { level, children }
        };
        if input.0.is_empty() { Ok(node) } else { Err(NodeError::Length) }
    }
}

fn sum(sizes: impl Iterator<Item = u64>) -> Result<u64, NodeError> {
    sizes.into_iter().try_fold(0_u64, u64::checked_add).ok_or(NodeError::Overflow)
}

fn ordered<'a>(names: impl Iterator<Item = &'a Vec<u8>>) -> Result<(), NodeError> {
    if names.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(NodeError::Order) }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a node has fewer items than the splitting rule allows");
    out.extend_from_slice(&len.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let len = u16::try_from(text.len()).expect("names and link texts are checked before they are encoded");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text);
}

fn put_entry(out: &mut Vec<u8>, entry: &TreeEntry) {
    let (tag, content) = match &entry.item {
        TreeItem::File { hash, size, executable: false } => (b'f', Some((hash, size))),
        TreeItem::File { hash, size, executable: true } => (b'x', Some((hash, size))),
        TreeItem::Dir { hash, size } => (b'd', Some((hash, size))),
        TreeItem::Symlink { .. } => (b'l', None),
    };
    out.push(tag);
    put_text(out, &entry.name);
    match (&entry.item, content) {
        (TreeItem::Symlink { target }, _) => put_text(out, target),
        (_, Some((hash, size))) => {
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(hash.as_bytes());
        }
        (_, None) => {}
    }
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], NodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(NodeError::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    fn text(&mut self) -> Result<Vec<u8>, NodeError> {
        let len = usize::from(u16::from_le_bytes(self.take()?));
        let (head, rest) = self.0.split_at_checked(len).ok_or(NodeError::Length)?;
        self.0 = rest;
        Ok(head.to_vec())
    }

    fn name(&mut self) -> Result<Vec<u8>, NodeError> {
        let name = self.text()?;
        check_name(&name)?;
        Ok(name)
    }

    fn sized(&mut self) -> Result<(u64, ContentHash), NodeError> {
        Ok((u64::from_le_bytes(self.take()?), ContentHash::from_bytes(self.take()?)))
    }

    fn entry(&mut self) -> Result<TreeEntry, NodeError> {
        let tag = self.take::<1>()?[0];
        let name = self.name()?;
        let item = match tag {
            b'f' | b'x' => {
                let (size, hash) = self.sized()?;
                TreeItem::File { hash, size, executable: tag == b'x' }
            }
            b'd' => {
                let (size, hash) = self.sized()?;
                TreeItem::Dir { hash, size }
            }
            b'l' => {
                let target = self.text()?;
                if target.is_empty() || target.len() > MAX_LINK || target.contains(&0) {
                    return Err(NodeError::Link);
                }
                TreeItem::Symlink { target }
            }
            other => return Err(NodeError::Type(other)),
        };
        Ok(TreeEntry { name, item })
    }

    fn child(&mut self) -> Result<Child, NodeError> {
        let last = self.name()?;
        let entries = u64::from_le_bytes(self.take()?);
        let (size, hash) = self.sized()?;
        Ok(Child { last, entries, size, hash })
    }
}
