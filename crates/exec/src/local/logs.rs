//! The two log files of a running attempt: made, bounded while the step writes, masked where there are secrets.
//!
//! Normally the step writes straight into the files and this side only looks at their size from time to time,
//! punching a hole into what is neither head nor tail. The step goes through a pipe instead when something has to
//! happen before bytes reach the disk: secrets are masked, a nearly full disk must not make its writes fail, or the
//! file system cannot punch holes. Apart from masking, the file looks the same in both cases: its size is what was
//! written, its first and last bytes are there, and what is between is a hole ([`super::log_reader`]).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use runstone_core::attempt::LogLimit;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::mask::{MaskStream, Masker};

/// Holes start and end at multiples of this; smaller pieces would be zeroed without freeing anything.
const BLOCK: u64 = 4096;
/// How much more than head and tail may lie on the disk before a hole is punched, while the step runs. Punching keeps
/// the writer waiting, so it is done in large pieces.
const SLACK: u64 = 4 << 20;
/// Free space below which the step does not write to the files itself, on top of what the logs may take.
const SCARCE: u64 = 16 << 20;
/// The interval between looks at the sizes starts here,
const FIRST_TICK: Duration = Duration::from_millis(8);
/// doubles up to this while nothing much happens (a log that then floods at 2 GB/s grows by 128 MB at most),
const SLOWEST_TICK: Duration = Duration::from_millis(64);
/// and goes down to this while it floods.
const FASTEST_TICK: Duration = Duration::from_millis(4);
/// Bytes in one interval that count as a flood.
const FLOOD: u64 = 4 << 20;

/// What is known about the file system of the last logs, to be asked once and not for each attempt.
#[derive(Default)]
pub(super) struct HoleSupport {
    known: Option<(u64, bool)>,
}

impl HoleSupport {
    fn check(&mut self, file_system: u64, file: &File) -> bool {
        match self.known {
            Some((known, supported)) if known == file_system && known != 0 => supported,
            _ => {
                let supported = punch(file, 0, BLOCK).is_ok();
                self.known = Some((file_system, supported));
                supported
            }
        }
    }
}

fn punch(file: &File, from: u64, len: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, len)?)
}

/// The logs of one attempt.
pub(super) struct Logs {
    /// Standard output, standard error.
    streams: [Stream; 2],
    interval: Duration,
    buffer: Vec<u8>,
    masked: Vec<u8>,
}

struct Stream {
    file: BoundedFile,
    pipe: Option<Pipe>,
}

struct Pipe {
    read: OwnedFd,
    /// The step's end, until the step has it.
    write: Option<OwnedFd>,
    mask: MaskStream,
    /// Bytes that came through.
    bytes: u64,
    ended: bool,
}

impl Logs {
    /// Makes the files `stdout` and `stderr` in `folder`.
    pub(super) fn create(
        folder: &Path,
        limit: LogLimit,
        masker: &Masker,
        support: &mut HoleSupport,
    ) -> io::Result<Self> {
        let open = |name| OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(folder.join(name));
        let files = [open("stdout")?, open("stderr")?];
        let space = fstatvfs(&files[0])?;
        let holes = support.check(space.f_fsid, &files[0]);
        let wanted = limit.head.saturating_add(limit.tail).saturating_mul(2).saturating_add(SCARCE);
        let scarce = space.f_bavail.saturating_mul(space.f_frsize) < wanted;
        let piped = scarce || !holes || !masker.is_empty();
        let [stdout, stderr] = files;
        let stream = |file| -> io::Result<Stream> {
            let pipe = if piped { Some(Pipe::new(masker)?) } else { None };
            Ok(Stream { file: BoundedFile::new(file, limit, holes), pipe })
        };
        let streams = [stream(stdout)?, stream(stderr)?];
        Ok(Self { streams, interval: FIRST_TICK, buffer: Vec::new(), masked: Vec::new() })
    }

    /// What the step gets as standard output (0) or standard error (1).
    pub(super) fn target(&self, stream: usize) -> BorrowedFd<'_> {
        let Stream { file, pipe } = &self.streams[stream];
        pipe.as_ref().and_then(|pipe| pipe.write.as_ref()).map_or(file.file.as_fd(), AsFd::as_fd)
    }

    /// To be called when the step has its ends.
    pub(super) fn step_has_targets(&mut self) {
        for pipe in self.streams.iter_mut().filter_map(|stream| stream.pipe.as_mut()) {
            pipe.write = None;
        }
    }

    /// What to wait for: the reading ends of the pipes that are still open, each with its stream.
    pub(super) fn readers(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let pipes = self.streams.iter().map(|stream| stream.pipe.as_ref()).enumerate();
        pipes.filter_map(|(index, pipe)| pipe.filter(|pipe| !pipe.ended).map(|pipe| (index, pipe.read.as_fd())))
    }

    /// Takes what is in a pipe, a few megabytes at most. Returns whether there may be more.
    pub(super) fn drain(&mut self, stream: usize) -> bool {
        let Stream { file, pipe: Some(pipe) } = &mut self.streams[stream] else { return false };
        self.buffer.resize(256 * 1024, 0);
        for _ in 0..16 {
            match rustix::io::read(&pipe.read, &mut self.buffer[..]) {
                Ok(0) => {
                    pipe.ended = true;
                    return false;
                }
                Ok(read) => {
                    pipe.bytes += read as u64;
                    self.masked.clear();
                    pipe.mask.push(&self.buffer[..read], &mut self.masked);
                    file.append(&self.masked);
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    pipe.ended = error != Errno::AGAIN;
                    return false;
                }
            }
        }
        true
    }

    /// Looks at the files that the step writes itself, and says when to look again; never, if there are none.
    pub(super) fn look(&mut self) -> Option<Duration> {
        let mut grown = None;
        for stream in self.streams.iter_mut().filter(|stream| stream.pipe.is_none()) {
            grown = Some(stream.file.look().max(grown.unwrap_or(0)));
        }
        self.interval =
            if grown? >= FLOOD { (self.interval / 4).max(FASTEST_TICK) } else { (self.interval * 2).min(SLOWEST_TICK) };
        Some(self.interval)
    }

    /// Ends the logs, when no process of the step is left: takes what is still in the pipes, without waiting for
    /// their end, and brings the files into their final form.
    pub(super) fn finish(mut self) -> LogTotals {
        for stream in 0..2 {
            while self.drain(stream) {}
        }
        let [stdout, stderr] = self.streams.map(Stream::finish);
        LogTotals { stdout: stdout.0, stderr: stderr.0, dropped: stdout.1 + stderr.1 }
    }
}

/// How much was written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogTotals {
    /// Bytes the step wrote to standard output.
    pub(super) stdout: u64,
    /// Bytes the step wrote to standard error.
    pub(super) stderr: u64,
    /// Bytes that could not be kept because the disk was full.
    pub(super) dropped: u64,
}

impl Stream {
    /// Bytes written and bytes lost.
    fn finish(mut self) -> (u64, u64) {
        let Some(mut pipe) = self.pipe else {
            self.file.look();
            self.file.finish();
            return (self.file.size, 0);
        };
        let mut rest = Vec::new();
        pipe.mask.finish(&mut rest);
        self.file.append(&rest);
        self.file.finish();
        (pipe.bytes, self.file.dropped)
    }
}

impl Pipe {
    fn new(masker: &Masker) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only our end must not block: the flag belongs to each end, and the step expects a plain pipe.
        rustix::io::ioctl_fionbio(&read, true)?;
        // Fewer wake-ups; a refusal (too many pipes of this user) does no harm.
        let _ = fcntl_setpipe_size(&read, 1 << 20);
        Ok(Self { read, write: Some(write), mask: masker.stream(), bytes: 0, ended: false })
    }
}

/// A log file of which only head and tail stay.
struct BoundedFile {
    file: File,
    limit: LogLimit,
    /// Bytes written so far, as far as was seen; the apparent size of the finished file.
    size: u64,
    /// Everything from the head up to here is a hole.
    cut_to: u64,
    /// The tail, in memory, where the file system cannot punch holes and head and tail are full.
    ring: Option<VecDeque<u8>>,
    holes: bool,
    /// Bytes that found no space.
    dropped: u64,
}

impl BoundedFile {
    fn new(file: File, limit: LogLimit, holes: bool) -> Self {
        Self { file, limit, size: 0, cut_to: limit.head.next_multiple_of(BLOCK), ring: None, holes, dropped: 0 }
    }

    /// Punches what is neither head nor tail, if it is `worth` so many bytes.
    fn bound(&mut self, worth: u64) {
        let end = self.size.saturating_sub(self.limit.tail) / BLOCK * BLOCK;
        if self.holes && end >= self.cut_to.saturating_add(worth) {
            // A failure leaves the bytes where they are; the next attempt includes them.
            if punch(&self.file, self.cut_to, end - self.cut_to).is_ok() {
                self.cut_to = end;
            }
        }
    }

    /// Looks how far somebody else has written. Returns by how much it grew.
    fn look(&mut self) -> u64 {
        let size = self.file.metadata().map_or(self.size, |found| found.len());
        let grown = size.saturating_sub(self.size);
        if size < self.size {
            // The step truncated its own log; what it writes now may be anywhere.
            self.cut_to = self.limit.head.next_multiple_of(BLOCK);
        }
        self.size = size;
        self.bound(SLACK);
        grown
    }

    /// Appends; what finds no space is counted and forgotten.
    fn append(&mut self, bytes: &[u8]) {
        let room = if self.holes {
            bytes.len()
        } else {
            let kept = self.limit.head.saturating_add(self.limit.tail).saturating_sub(self.size);
            usize::try_from(kept).unwrap_or(usize::MAX).min(bytes.len())
        };
        let (direct, late) = bytes.split_at(room);
        if !direct.is_empty() {
            let mut rest = direct;
            while !rest.is_empty() {
                match (&self.file).write(rest) {
                    Ok(written) if written > 0 => {
                        rest = &rest[written..];
                        self.size += written as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => break,
                }
            }
            self.dropped += rest.len() as u64;
        }
        if !late.is_empty() {
            self.size += late.len() as u64;
            let ring = self.ring.get_or_insert_default();
            ring.extend(late);
            let surplus = ring.len().saturating_sub(usize::try_from(self.limit.tail).unwrap_or(usize::MAX));
            ring.drain(..surplus);
        }
        self.bound(SLACK);
    }

    /// Leaves nothing between head and tail. Without hole punching: moves the tail to where it belongs, so that the
    /// file is sparse before it.
    fn finish(&mut self) {
        self.bound(BLOCK);
        let Some(ring) = self.ring.take() else { return };
        let mut tail = Vec::new();
        // The older part of the tail is still in the file, at its end.
        let missing = self.limit.tail.saturating_sub(ring.len() as u64);
        let moved = (|| -> io::Result<()> {
            let end = self.file.seek(SeekFrom::End(0))?;
            self.file.seek(SeekFrom::Start(end.saturating_sub(missing).max(self.limit.head.min(end))))?;
            self.file.read_to_end(&mut tail)?;
            tail.extend(ring);
            self.file.set_len(self.limit.head)?;
            self.file.set_len(self.size - tail.len() as u64)?;
            self.file.seek(SeekFrom::End(0))?;
            self.file.write_all(&tail)
        })();
        if moved.is_err() {
            self.dropped += tail.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn written(holes: bool, limit: LogLimit, chunks: &[Vec<u8>]) -> (Vec<u8>, u64) {
        let mut file = BoundedFile::new(tempfile::tempfile().unwrap(), limit, holes);
        for chunk in chunks {
            file.append(chunk);
        }
        file.finish();
        let mut bytes = Vec::new();
        file.file.rewind().unwrap();
        file.file.read_to_end(&mut bytes).unwrap();
        (bytes, file.file.metadata().unwrap().blocks() * 512)
    }

    #[test]
    fn head_and_tail_survive_with_and_without_holes() {
        let limit = LogLimit { head: 10_000, tail: 50_000 };
        let all: Vec<u8> = (0_u32..2_000_000).flat_map(u32::to_le_bytes).collect();
        let chunks: Vec<Vec<u8>> = all.chunks(77_777).map(<[u8]>::to_vec).collect();
        for holes in [true, false] {
            let (bytes, on_disk) = written(holes, limit, &chunks);
            assert_eq!(bytes.len(), all.len());
            assert!(bytes[..10_000] == all[..10_000], "head, holes: {holes}");
            assert!(bytes[all.len() - 50_000..] == all[all.len() - 50_000..], "tail, holes: {holes}");
            assert!(on_disk <= 60_000 + 4 * BLOCK, "{on_disk} bytes on disk, holes: {holes}");
        }
    }

    #[test]
    fn without_holes_a_short_overrun_keeps_the_older_part_of_the_tail() {
        let limit = LogLimit { head: 4, tail: 8 };
        let (bytes, _) = written(false, limit, &[b"0123456789ab".to_vec(), b"cd".to_vec(), b"e".to_vec()]);
        assert_eq!(bytes, b"0123\x00\x00\x00789abcde");
        let (bytes, _) = written(false, limit, &[b"0123456789".to_vec()]);
        assert_eq!(bytes, b"0123456789");
    }
}
