//! Lines of stdin where there is no editor: pipes, scripts on stdin, `TERM=dumb`.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::PoisonError;

use nix::libc::SIGINT;
use nix::poll::{PollFd, PollFlags};

use super::Session;
use super::source::LINE_OCTETS_MAX;
use crate::cancel::poll_until;

/// What was read of stdin and not yet asked for.
#[derive(Default)]
pub(crate) struct LineReader {
    waiting: Vec<u8>,
    ended: bool,
}

pub(crate) enum Read {
    /// Without its line end.
    Line(Vec<u8>),
    End,
    Interrupted,
    Failed(io::Error),
}

/// The next line of stdin. Ctrl-C ends the wait, and that it is no longer wanted.
pub(crate) fn read_line(session: &Session, wanted: &dyn Fn() -> bool) -> Read {
    let mut reader = session.stdin.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(line) = reader.take_line() {
            return Read::Line(line);
        }
        if reader.ended || !wanted() {
            // Ctrl-D ends one answer of a person, and not all.
            reader.ended &= !io::stdin().is_terminal();
            return Read::End;
        }
        let stdin = io::stdin();
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [readable(stdin.as_fd()), readable(session.desk.bell.as_fd())];
        let woken = poll_until(&mut fds, None);
        session.desk.bell.clear();
        if session.desk.take_signal() == Some(SIGINT) {
            return Read::Interrupted;
        }
        if session.screen.lost().is_some() {
            return Read::End;
        }
        let may_read = fds[0].any().unwrap_or(true);
        if let Err(error) = woken {
            return Read::Failed(error.into());
        }
        if may_read && let Err(error) = reader.fill() {
            return Read::Failed(error);
        }
    }
}

impl LineReader {
    /// A line, or the rest where it is longer than a line may be or the last without its end.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let newline = self.waiting.iter().position(|octet| *octet == b'\n');
        let line = match newline {
            Some(newline) => {
                let rest = self.waiting.split_off(newline + 1);
                let mut line = std::mem::replace(&mut self.waiting, rest);
                line.pop();
                if line.ends_with(b"\r") {
                    line.pop();
                }
                line
            }
            None if self.waiting.len() > LINE_OCTETS_MAX => std::mem::take(&mut self.waiting),
            None if self.ended && !self.waiting.is_empty() => std::mem::take(&mut self.waiting),
            None => return None,
        };
        Some(line)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut octets = [0; 16 << 10];
        // Past std's buffer, which poll knows nothing of.
        match nix::unistd::read(io::stdin(), &mut octets) {
            Ok(0) => self.ended = true,
            Ok(count) => self.waiting.extend_from_slice(&octets[..count]),
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
