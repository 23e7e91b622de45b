//! The prompt: reads a line, runs it, and survives whatever either does.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::editor::{self, Editor, Trouble};
use super::plain::{self, Read};
use super::source::{self, Origin, Source};
use super::{Shell, grammar, history, terminal};
use crate::job::guarded;
use crate::output::Text;
use crate::tool::Status;

/// What the prompt is called in errors.
const NAME: &str = "nsh";

enum Line {
    Text(String),
    /// Ctrl-C: nothing to run.
    Dropped,
    /// Ctrl-D.
    End,
}

/// Runs commands as they are typed, until `exit` or Ctrl-D.
pub(crate) fn run_prompt(shell: &mut Shell, rc_file: Option<PathBuf>) -> Status {
    run_rc_file(shell, rc_file);
    open_editor(shell);
    let mut warned = false;
    while shell.exit.is_none() {
        shell.session.jobs.tidy();
        shell.session.screen.drain();
        shell.interrupted = false;
        match read(shell) {
            Line::Text(line) if line.trim().is_empty() => {}
            Line::Text(line) => {
                remember(shell, &line);
                shell.session.desk.clear_signals();
                let source = Source::new(NAME, &line, Origin::Prompt, 1);
                if let Err(panic) = guarded(|| shell.run_source(source, &[])) {
                    let text = format!("internal error, please report it: {panic}");
                    shell.out().error(text, Status::INTERNAL.0);
                }
                warned &= shell.exit.is_some();
            }
            Line::Dropped => {}
            Line::End => shell.exit = Some(shell.status),
        }
        if shell.session.screen.lost().is_some() {
            break;
        }
        if shell.exit.is_some() && !warned && !shell.leaves_anyway && tell_running(shell) {
            shell.exit = None;
            warned = true;
        }
    }
    shell.exit.unwrap_or(shell.status)
}

/// Names the jobs that leaving would stop.
fn tell_running(shell: &Shell) -> bool {
    let running = shell.session.jobs.running();
    for job in &running {
        shell
            .out()
            .warn(format!("[{}] still runs: {}", job.id, job.line));
    }
    if !running.is_empty() {
        shell
            .out()
            .warn("exit again, or 'exit --force', stops what runs and leaves");
    }
    !running.is_empty()
}

fn run_rc_file(shell: &mut Shell, rc_file: Option<PathBuf>) {
    let Some(path) = rc_file else { return };
    match Source::open(&path) {
        Ok(source) => _ = shell.run_source(source, &[]),
        Err(error) => _ = shell.fail(NAME, &error),
    }
    shell.interrupted = false;
}

/// The line editor where there is a terminal that it can use.
fn open_editor(shell: &Shell) {
    let capable = std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty());
    if !capable || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return start_plain_printer(shell);
    }
    match Editor::open(&shell.session, Arc::clone(&shell.scope)) {
        Ok(editor) => {
            terminal::hold_keys();
            editor::install(editor);
        }
        Err(error) => {
            shell.out().warn(format!(
                "no line editor here ({error}); plain input instead"
            ));
            start_plain_printer(shell);
        }
    }
}

fn start_plain_printer(shell: &Shell) {
    // Without a printer thread, lines wait until the next command.
    let _ = shell.session.screen.start_printer(None);
}

fn read(shell: &Shell) -> Line {
    let session = &shell.session;
    session.screen.set_editing(true);
    // It panics when its descriptors are above 1023, and fails when there are none left.
    let line = editor::with(|editor| guarded(|| editor.read(&session.jobs)));
    session.screen.set_editing(false);
    let trouble = match line {
        None => return read_plainly(shell),
        Some(Ok(Ok(Some(line)))) => return Line::Text(line),
        Some(Ok(Ok(None))) => return Line::End,
        Some(Ok(Err(Trouble::Interrupted))) => return Line::Dropped,
        Some(Ok(Err(Trouble::Failed(error)))) => error.to_string(),
        Some(Err(panic)) => panic,
    };
    shell.out().warn(format!(
        "the line editor failed ({trouble}); plain input this once"
    ));
    session.screen.drain();
    terminal::restore();
    let line = read_plainly(shell);
    terminal::hold_keys();
    line
}

/// Lines that belong together, because a quote is open or `&&` ends one.
#[derive(Default)]
struct Pending {
    text: String,
    missing: Option<char>,
}

impl Pending {
    /// Adds a line; true when nothing is open any more, or too much is.
    fn add(&mut self, line: &str) -> bool {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > source::LINE_OCTETS_MAX {
            return true;
        }
        // Reading all again is worth it only when the line can end it.
        if self.missing.is_some_and(|missing| !line.contains(missing)) {
            return false;
        }
        let unfinished = grammar::parse(&self.text)
            .err()
            .filter(|error| error.is_unfinished());
        self.missing = unfinished.as_ref().and_then(|error| error.missing());
        unfinished.is_none()
    }
}

/// A line, and those that belong to it.
fn read_plainly(shell: &Shell) -> Line {
    let mut pending = Pending::default();
    let mut prompt = "nsh> ";
    loop {
        shell.session.screen.prompt(prompt);
        match plain::read_line(&shell.session, &|| true) {
            Read::Line(octets) => match source::decode(&octets, NAME, 1) {
                Ok(line) if pending.add(line) => return Line::Text(pending.text),
                Ok(_) => prompt = "> ",
                Err(error) => {
                    shell.fail(NAME, &error);
                    return Line::Dropped;
                }
            },
            Read::End if pending.text.is_empty() => return Line::End,
            Read::End => return Line::Text(pending.text),
            Read::Interrupted => {
                shell.out().emit(&Text {
                    text: String::new(),
                });
                return Line::Dropped;
            }
            Read::Failed(error) => {
                shell.out().error(format!("cannot read stdin: {error}"), 1);
                return Line::End;
            }
        }
    }
}

fn remember(shell: &Shell, line: &str) {
    if !history::is_kept(line) {
        return;
    }
    let mut history = shell
        .session
        .history
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    history.add(line);
    drop(history);
    if let Some(Err(error)) = editor::with(|editor| editor.remember(line)) {
        shell
            .out()
            .warn(format!("history is kept for this session only: {error}"));
    }
}

/// Runs a script that comes on stdin, command by command, so that whoever writes it can
/// answer what it prints.
pub(crate) fn run_stdin(shell: &mut Shell, arguments: &[String]) -> Status {
    const NAME: &str = "stdin";
    let mut pending = Pending::default();
    let (mut line, mut first_line) = (0, 1);
    loop {
        let (whole, ended) = match plain::read_line(&shell.session, &|| true) {
            Read::Line(octets) => {
                line += 1;
                match source::decode(&octets, NAME, line) {
                    Ok(decoded) => (pending.add(decoded), false),
                    Err(error) => {
                        shell.out().error(error.to_string(), error.status().0);
                        return error.status();
                    }
                }
            }
            Read::End => (true, true),
            Read::Interrupted => return Status::INTERRUPTED,
            Read::Failed(error) => {
                let text = format!("cannot read stdin: {error}");
                shell.out().error(text, Status::USAGE.0);
                return Status::USAGE;
            }
        };
        if !whole {
            continue;
        }
        let text = std::mem::take(&mut pending).text;
        let source = Source::new(NAME, &text, Origin::Stdin, first_line);
        shell.run_source(source, arguments);
        shell.session.screen.drain();
        first_line = line + 1;
        if let Some(status) = shell.exit {
            return status;
        }
        if ended || shell.must_end() || shell.stopped {
            return shell.status;
        }
    }
}
