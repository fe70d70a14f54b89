//! What an engine and its reapers say to each other, and how: JSON with its length in front, over a Unix socket.
//!
//! Both ends are always the same build of the same program, one forked from the other, so there are no versions here.
//! What outlives a build is the journal ([`super::journal`]).

use std::borrow::Cow;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use runstone_core::attempt::{AttemptSpec, OutcomeRecord};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::process::ProcessId;

/// Longest message, a guard against a torn length.
const MAX_MESSAGE: usize = 256 << 20;

/// From the engine to a reaper. No `Debug`: it holds secrets.
#[derive(Serialize, Deserialize)]
pub(super) enum Request<'a> {
    /// Run this attempt. Sent to a reaper without one.
    Start {
        spec: Cow<'a, AttemptSpec>,
        /// Further variables for the step's environment, which go nowhere else.
        secrets: Cow<'a, [(String, String)]>,
    },
    /// End this attempt, if it still runs.
    Stop { attempt: Uuid, now: bool },
}

/// From a reaper to the engine.
#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    /// The first words of a reaper.
    Hello(ProcessId),
    /// The outcome is on record and the reaper is free.
    Ended(OutcomeRecord),
    /// From the fork server: there will be no reaper.
    NoReaper(String),
}

/// Two connected sockets: of messages with descriptors, or of bytes.
pub(super) fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message, waiting while the other side is slow.
pub(super) fn write_message(channel: impl AsFd, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).ok().filter(|&length| length as usize <= MAX_MESSAGE);
    let length = length.ok_or_else(|| io::Error::other("the attempt's description is too large"))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        match send(&channel, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What [`Messages::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Perhaps more messages.
    Bytes,
    /// Nothing at the moment.
    Nothing,
    /// The other side is gone.
    End,
}

/// Puts messages together from the bytes of a socket.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    /// Takes what has arrived, without waiting.
    pub(super) fn receive(&mut self, channel: BorrowedFd<'_>) -> Received {
        let mut buffer = [0_u8; 16 * 1024];
        loop {
            match recv(channel, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Received::End,
                Ok((_, length)) => {
                    self.bytes.extend_from_slice(&buffer[..length]);
                    return Received::Bytes;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Received::Nothing,
                Err(_) => return Received::End,
            }
        }
    }

    /// The next whole message; one that cannot be understood is an error.
    pub(super) fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Option<io::Result<T>> {
        let (length, rest) = self.bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_MESSAGE {
            return Some(Err(io::ErrorKind::InvalidData.into()));
        }
        let message = serde_json::from_slice(rest.get(..length)?).map_err(io::Error::from);
        if rest.len() == length {
            // A large message does not keep its memory.
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..4 + length);
        }
        Some(message)
    }
}

/// Hands descriptors over, in one message.
pub(super) fn send_descriptors(socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(socket, &[io::IoSlice::new(b"r")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for a message with descriptors; none when the other side is gone.
pub(super) fn receive_descriptors(socket: BorrowedFd<'_>) -> Option<Vec<OwnedFd>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = recvmsg(socket, &mut [io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC);
        match received {
            Ok(message) if message.bytes == 0 => return None,
            Ok(_) => {
                let messages = control.drain();
                return Some(
                    messages
                        .flat_map(|message| match message {
                            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
                            _ => Vec::new(),
                        })
                        .collect(),
                );
            }
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_chunking() {
        let (left, right) = pair(SocketType::STREAM).unwrap();
        let long = "x".repeat(100_000);
        write_message(&left, &long).unwrap();
        write_message(&left, &"short").unwrap();
        drop(left);
        let (mut messages, mut seen) = (Messages::default(), Vec::new());
        while messages.receive(right.as_fd()) == Received::Bytes {
            while let Some(message) = messages.next::<String>() {
                seen.push(message.unwrap());
            }
        }
        assert_eq!(seen, [long, "short".to_owned()]);
    }
}
