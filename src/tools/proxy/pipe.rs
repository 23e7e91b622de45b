//! A pipe through which the kernel moves octets from one connection to another, without a copy
//! in this process.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::net::peer::Peer;

/// What fits where the system permits it; 64 KiB elsewhere.
const OCTETS: usize = 1 << 20;

pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// In it now.
    pub(super) octets: usize,
}

impl Pipe {
    /// `None` where there are no descriptors for one.
    pub(super) fn open() -> Option<Pipe> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let _ = fcntl_setpipe_size(&writer, OCTETS);
        Some(Pipe {
            reader,
            writer,
            octets: 0,
        })
    }

    /// What came within a moment; `None` if nothing did, and 0 at the end.
    pub(super) fn fill(&mut self, from: &Peer) -> io::Result<Option<usize>> {
        self.fill_up_to(from, OCTETS)
    }

    pub(super) fn fill_up_to(&mut self, from: &Peer, octets: usize) -> io::Result<Option<usize>> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let moved = splice(from, None, &self.writer, None, octets.min(OCTETS), flags);
        let moved = unless_blocked(moved)?;
        self.octets += moved.unwrap_or(0);
        Ok(moved)
    }

    /// As much as the connection takes.
    pub(super) fn drain(&mut self, to: &Peer) -> io::Result<()> {
        // Without MORE: the kernel would keep the last piece back for 200 ms.
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        while self.octets > 0 {
            let moved = splice(&self.reader, None, to, None, self.octets, flags);
            match unless_blocked(moved)? {
                Some(count) => self.octets -= count,
                None => break,
            }
        }
        Ok(())
    }
}

fn unless_blocked(moved: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
