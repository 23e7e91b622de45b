//! The terminal's settings: as they were found, put back however nsh ends.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{SIGINT, termios};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use rustyline::error::ReadlineError;

use super::{Session, plain};
use crate::input::Answer;
use crate::job::guarded;

static FOUND: OnceLock<termios> = OnceLock::new();

fn found() -> Option<Termios> {
    FOUND.get().map(|found| Termios::from(*found))
}

/// Only the editor changes more than the settings.
static EDITOR_USED: AtomicBool = AtomicBool::new(false);

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
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &found);
    if EDITOR_USED.load(Ordering::SeqCst) {
        // Not through std's lock: its holder may be the thread that just panicked.
        let _ = nix::unistd::write(io::stdout(), PLAIN);
        let _ = io::stdout().flush();
    }
}

/// While no line is being edited, what is typed waits for the next prompt instead of being
/// mixed into output. Ctrl-C and Ctrl-Z stay signals.
pub(super) fn hold_keys() {
    EDITOR_USED.store(true, Ordering::SeqCst);
    let Some(mut quiet) = found() else { return };
    quiet
        .local_flags
        .remove(LocalFlags::ECHO | LocalFlags::ICANON);
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &quiet);
}

/// Asks the person at the prompt: a line with the editor's keys but no history, or a secret
/// without echo.
pub(super) fn ask(session: &Session, prompt: &str, secret: bool) -> Answer {
    if secret || !io::stdout().is_terminal() {
        return ask_plainly(session, prompt, secret);
    }
    let Some(found) = found() else {
        return ask_plainly(session, prompt, secret);
    };
    let quiet = tcgetattr(io::stdin());
    // The editor reads with the settings it finds; those of the foreground are not for typing.
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &found);
    session.screen.set_editing(true);
    let line = guarded(|| rustyline::DefaultEditor::new().and_then(|mut e| e.readline(prompt)));
    session.screen.set_editing(false);
    if let Ok(quiet) = quiet {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &quiet);
    }
    match line {
        Ok(Ok(line)) => Answer::Line(line),
        Ok(Err(ReadlineError::Interrupted)) => {
            session.desk.put_signal(SIGINT);
            Answer::End
        }
        Ok(Err(ReadlineError::Eof)) => Answer::End,
        Ok(Err(error)) => Answer::Failed(error.to_string()),
        Err(panic) => Answer::Failed(panic),
    }
}

fn ask_plainly(session: &Session, prompt: &str, secret: bool) -> Answer {
    session.screen.prompt(prompt);
    let before = tcgetattr(io::stdin());
    if let Some(mut settings) = found() {
        if secret {
            settings.local_flags.remove(LocalFlags::ECHO);
        }
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &settings);
    }
    let answer = match plain::read_line(session) {
        plain::Read::Line(octets) => Answer::Line(String::from_utf8_lossy(&octets).into_owned()),
        plain::Read::End => Answer::End,
        plain::Read::Interrupted => {
            session.desk.put_signal(SIGINT);
            Answer::End
        }
        plain::Read::Failed(error) => Answer::Failed(error.to_string()),
    };
    if let Ok(before) = before {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    }
    if secret {
        session.screen.prompt("\n");
    }
    answer
}
