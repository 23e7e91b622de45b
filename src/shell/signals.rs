//! Signals: Ctrl-C and Ctrl-Z go to the thread that holds the terminal, SIGTERM and SIGHUP
//! stop all jobs, put the terminal back and end the process with 128 + the signal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use nix::poll::{PollFd, PollFlags};
use signal_hook::iterator::Signals;
use std::os::fd::AsFd;

use super::{Session, terminal};
use crate::cancel::{Bell, poll_until};
use crate::clock;
use crate::tool::Status;

/// For the last lines to reach a program that may be slow to read.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);
/// The same for a terminal, which may have been stopped with Ctrl-S.
const LAST_WORDS_TERMINAL_MAX: Duration = Duration::from_millis(300);

/// Registers the handlers and starts the thread that serves them.
pub(crate) fn start(session: Arc<Session>) -> io::Result<()> {
    // Ctrl-\ asks the job in the foreground how it goes.
    let mut wanted = vec![SIGINT, SIGTERM, SIGHUP, SIGQUIT];
    if session.interactive {
        // Ctrl-Z would freeze all servers.
        wanted.push(SIGTSTP);
    }
    // What nohup or a script's `&` made this process ignore stays ignored.
    let ignored = ignored_from_the_start();
    wanted.retain(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(wanted)?;
    let serve = move || {
        for signal in signals.forever() {
            match signal {
                SIGTERM | SIGHUP => terminate(&session, signal),
                _ => session.desk.put_signal(signal),
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(serve)?;
    Ok(())
}

fn terminate(session: &Arc<Session>, signal: i32) -> ! {
    session.terminating.store(true, Ordering::SeqCst);
    session.jobs.stop_all();
    if let Ok(bell) = Bell::new().map(Arc::new) {
        let (screen, told) = (Arc::clone(&session.screen), Arc::clone(&bell));
        let write = move || {
            screen.set_editing(false);
            screen.drain();
            told.ring();
        };
        if thread::Builder::new().spawn(write).is_ok() {
            let patience = match session.screen.is_lossless() {
                true => LAST_WORDS_MAX,
                false => LAST_WORDS_TERMINAL_MAX,
            };
            let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
            let _ = poll_until(&mut fds, Some(clock::now() + patience));
        }
    }
    terminal::restore();
    std::process::exit(i32::from(Status::of_signal(signal).0))
}

/// A mask of signals; elsewhere than on Linux none is known to be ignored.
fn ignored_from_the_start() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    mask.unwrap_or(0)
}
