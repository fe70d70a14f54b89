//! Opens files and folders below a known folder without ever following a symbolic link, and says what is there.
//!
//! Everything that reads what a step left behind goes through here: a link that is planted, even while we look,
//! leads to an error and never out of the folder.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::error::ObjectError;

/// What a stat says about the state of a file. Two equal values mean: nobody wrote to it in between, as far as the
/// file system can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last write, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of content or attributes, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Type and permission bits.
    pub mode: u32,
    /// Names of the inode.
    pub links: u64,
}

/// The type of a file as far as content is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Something without content, named with its article.
    Special(&'static str),
}

impl FileKind {
    /// A name with its article, for messages.
    #[must_use]
    pub fn named(self) -> &'static str {
        match self {
            Self::Regular => "a file",
            Self::Dir => "a folder",
            Self::Symlink => "a symbolic link",
            Self::Special(name) => name,
        }
    }
}

impl FileStat {
    pub(crate) fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        rustix::fs::fstat(fd).map(|stat| Self::from(&stat))
    }

    /// Does not follow a symbolic link.
    pub(crate) fn at(dir: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<Self> {
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Self::from(&stat))
    }

    /// Whether this is the file that `earlier` told of, not written to in between. Links may have come and gone, which
    /// shows in the time of change as well.
    #[must_use]
    pub fn same_file_as(&self, earlier: &Self) -> bool {
        let links_changed = self.links != earlier.links || self.links > 1;
        *self
            == Self {
                links: self.links,
                ctime_ns: if links_changed { self.ctime_ns } else { earlier.ctime_ns },
                ..*earlier
            }
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> FileKind {
        use rustix::fs::FileType;
        match FileType::from_raw_mode(self.mode as _) {
            FileType::RegularFile => FileKind::Regular,
            FileType::Directory => FileKind::Dir,
            FileType::Symlink => FileKind::Symlink,
            FileType::Fifo => FileKind::Special("a FIFO"),
            FileType::Socket => FileKind::Special("a socket"),
            FileType::CharacterDevice | FileType::BlockDevice => FileKind::Special("a device"),
            FileType::Unknown => FileKind::Special("of an unknown type"),
        }
    }

    /// Whether the owner may execute it.
    #[must_use]
    pub fn executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

// The widths and signs of the fields differ between platforms; all values fit.
impl From<&rustix::fs::Stat> for FileStat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            dev: stat.st_dev as _,
            ino: stat.st_ino as _,
            size: stat.st_size as _,
            mtime_ns: nanos(stat.st_mtime as _, stat.st_mtime_nsec as _),
            ctime_ns: nanos(stat.st_ctime as _, stat.st_ctime_nsec as _),
            mode: stat.st_mode as _,
            links: stat.st_nlink as _,
        }
    }
}

/// A folder that is trusted, as the place below which nothing else is.
#[derive(Debug)]
pub(crate) struct Beneath {
    fd: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// Opens the folder at `path`, which may lead through links: whoever calls this vouches for it.
    pub(crate) fn open(path: &Path) -> Result<Self, ObjectError> {
        let fd = rustix::fs::open(path, dir_flags(), Mode::empty()).map_err(|errno| missing_or("open", path, errno))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Wraps a folder that is open already.
    pub(crate) fn of(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder at a plain relative path (empty for the folder itself).
    pub(crate) fn dir(&self, relative: &Path) -> Result<OwnedFd, ObjectError> {
        let path = || self.path.join(relative);
        if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(ObjectError::io("open", path(), std::io::Error::from(std::io::ErrorKind::InvalidInput)));
        }
        let target = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        open_dir_below(self.fd.as_fd(), target).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => ObjectError::WrongType {
                path: path(),
                expected: "a folder",
                found: "something else, or behind a symbolic link",
            },
            errno => missing_or("open", &path(), errno),
        })
    }
}

fn dir_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

#[cfg(target_os = "linux")]
fn open_dir_below(root: BorrowedFd<'_>, relative: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, relative, dir_flags(), Mode::empty(), resolve) {
        // Kernels before 5.6, and containers whose filter does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_dir_by_steps(root, relative),
        result => result,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_dir_below(root: BorrowedFd<'_>, relative: &Path) -> rustix::io::Result<OwnedFd> {
    open_dir_by_steps(root, relative)
}

/// The same, one component at a time.
fn open_dir_by_steps(root: BorrowedFd<'_>, relative: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = dir_flags() | OFlags::NOFOLLOW;
    let mut dir = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    for part in relative.components() {
        if let Component::Normal(name) = part {
            dir = rustix::fs::openat(&dir, name, flags, Mode::empty())?;
        }
    }
    Ok(dir)
}

/// Opens a regular file in `dir` for reading and says what it is. Never follows a link, and never waits on a FIFO.
pub(crate) fn open_regular(
    dir: impl AsFd,
    name: impl rustix::path::Arg,
    path: &Path,
) -> Result<(File, FileStat), ObjectError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP => wrong_type(path, FileKind::Symlink),
        Errno::NXIO => wrong_type(path, FileKind::Special("a socket or FIFO")),
        errno => missing_or("open", path, errno),
    })?;
    expect_regular(File::from(fd), path)
}

/// Opens a regular file by a path that the user vouches for; links are followed.
pub(crate) fn open_trusted(path: &Path) -> Result<(File, FileStat), ObjectError> {
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path);
    expect_regular(file.map_err(|error| missing_or("open", path, error))?, path)
}

fn expect_regular(file: File, path: &Path) -> Result<(File, FileStat), ObjectError> {
    let stat = FileStat::of(&file).map_err(ObjectError::at("stat", path))?;
    match stat.kind() {
        FileKind::Regular => Ok((file, stat)),
        other => Err(wrong_type(path, other)),
    }
}

fn wrong_type(path: &Path, found: FileKind) -> ObjectError {
    ObjectError::WrongType { path: path.to_owned(), expected: FileKind::Regular.named(), found: found.named() }
}

/// An absent file is an answer of its own; every other failure names what was tried.
pub(crate) fn missing_or(action: &'static str, path: &Path, error: impl Into<std::io::Error>) -> ObjectError {
    let error = error.into();
    if error.kind() == std::io::ErrorKind::NotFound {
        ObjectError::Missing { path: path.to_owned() }
    } else {
        ObjectError::io(action, path, error)
    }
}
