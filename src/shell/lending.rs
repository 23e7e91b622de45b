//! The terminal is lent to an editor that a person knows.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Shell, editor, terminal};
use crate::cancel::poll_until;
use crate::input::{Answer, Question};
use crate::{cause, clock};

/// POSIX has it everywhere.
const PROGRAM: &str = "vi";
/// How soon it is seen that the editor has ended, or is no longer wanted.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

impl Shell {
    pub(super) fn lend(&self, question: &Question, file: &Path) -> Answer {
        let session = &self.session;
        session.screen.set_lent(true);
        terminal::restore();
        let program = program();
        let ended = spawn(&program, file).map(|mut child| self.attend_editor(question, &mut child));
        if editor::with(|_| ()).is_some() {
            terminal::hold_keys();
        }
        session.screen.set_lent(false);
        // Ctrl-C and Ctrl-Z were the editor's.
        session.desk.clear_signals();
        let program = program.to_string_lossy();
        match ended {
            Ok(Some(0)) => Answer::Edited,
            Ok(Some(status)) => Answer::Failed(format!("'{program}' ended with status {status}")),
            Ok(None) => Answer::Failed(format!("'{program}' was ended by a signal")),
            Err(error) => {
                Answer::Failed(format!("cannot start '{program}': {}", cause::of(&error)))
            }
        }
    }

    /// Its exit status, where it has one.
    fn attend_editor(&self, question: &Question, child: &mut Child) -> Option<i32> {
        let bell = &self.session.desk.bell;
        let pid = Pid::from_raw(child.id().cast_signed());
        loop {
            let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
            match waitpid(pid, Some(flags)) {
                Ok(WaitStatus::Exited(_, status)) => return Some(status),
                Ok(WaitStatus::Signaled(..)) => return None,
                Ok(WaitStatus::Stopped(..)) => _ = kill(pid, Signal::SIGCONT),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
            if question.is_withdrawn() {
                let _ = kill(pid, Signal::SIGTERM);
            }
            bell.clear();
            let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
            let _ = poll_until(&mut fds, Some(clock::now() + LOOK_AGAIN_AFTER));
        }
    }
}

fn program() -> OsString {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("VISUAL")
        .or_else(|| set("EDITOR"))
        .unwrap_or_else(|| PROGRAM.into())
}

/// By the shell, since it may have options, and in its place, so that signals reach it. Nobody
/// could take a stopped one back to the foreground.
fn spawn(program: &OsString, file: &Path) -> io::Result<Child> {
    let mut line = OsString::from("trap '' TSTP; exec ");
    line.push(program);
    line.push(" \"$@\"");
    Command::new("sh")
        .arg("-c")
        .arg(line)
        .arg("sh")
        .arg(file)
        .stdin(Stdio::inherit())
        .spawn()
}
