//! The terminal's settings: as they were found, put back however nsh ends.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc::termios;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

static FOUND: OnceLock<termios> = OnceLock::new();

fn found() -> Option<Termios> {
    FOUND.get().map(|found| Termios::from(*found))
}

/// There is something to put back.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// Bracketed paste and synchronized output off, cursor visible.
const PLAIN: &[u8] = b"\x1b[?2004l\x1b[?2026l\x1b[?25h";

/// Remembers how the terminal was found.
pub(crate) fn remember() {
    if let Ok(found) = tcgetattr(io::stdin()) {
        let _ = FOUND.set(found.into());
    }
}

/// Puts the terminal back as it was found.
pub(crate) fn restore() {
    let Some(found) = found() else { return };
    if !CHANGED.load(Ordering::SeqCst) {
        return;
    }
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &found);
    if io::stdout().is_terminal() {
        // Not through std's lock: its holder may be the thread that just panicked.
        let _ = nix::unistd::write(io::stdout(), PLAIN);
        let _ = io::stdout().flush();
    }
}

/// While no line is being edited, what is typed waits for the next prompt instead of being
/// mixed into output. Ctrl-C and Ctrl-Z stay signals.
pub(super) fn hold_keys() {
    CHANGED.store(true, Ordering::SeqCst);
    let Some(mut quiet) = found() else { return };
    quiet
        .local_flags
        .remove(LocalFlags::ECHO | LocalFlags::ICANON);
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &quiet);
}

/// As it was found, but with or without echo, for a line that is read without the editor.
pub(super) fn set_echo(echo: bool) {
    CHANGED.store(true, Ordering::SeqCst);
    let Some(mut settings) = found() else { return };
    settings.local_flags.set(LocalFlags::ECHO, echo);
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &settings);
}

/// Whether this process may read from the terminal, and set it.
pub(super) fn is_ours() -> bool {
    nix::unistd::tcgetpgrp(io::stdin()).is_ok_and(|group| group == nix::unistd::getpgrp())
}

pub(super) enum Key {
    None,
    Pressed(u8),
    /// There is no terminal any more.
    Gone,
}

/// A key that was pressed, if one waits; the settings must be those of [`hold_keys`].
pub(super) fn take_key() -> Key {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    if !matches!(nix::poll::poll(&mut fds, PollTimeout::ZERO), Ok(1..)) {
        return Key::None;
    }
    let mut key = [0];
    match nix::unistd::read(&stdin, &mut key) {
        Ok(1) => Key::Pressed(key[0]),
        Err(Errno::EINTR | Errno::EAGAIN) => Key::None,
        Ok(_) | Err(_) => Key::Gone,
    }
}
