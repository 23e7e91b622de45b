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
                let leaves = line.trim() == "exit";
                remember(shell, &line);
                shell.session.desk.clear_signals();
                let source = Source::new(NAME, &line, Origin::Prompt, 1);
                if let Err(panic) = guarded(|| shell.run_source(source, &[])) {
                    let text = format!("internal error, please report it: {panic}");
                    shell.out().error(text, Status::INTERNAL.0);
                }
                warned &= leaves;
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

/// A line, and those that belong to it because a quote is open or `&&` ends it.
fn read_plainly(shell: &Shell) -> Line {
    let mut text = String::new();
    let mut prompt = "nsh> ";
    loop {
        shell.session.screen.prompt(prompt);
        match plain::read_line(&shell.session) {
            Read::Line(octets) => match source::decode(&octets, NAME, 1) {
                Ok(line) => text.push_str(line),
                Err(error) => {
                    shell.fail(NAME, &error);
                    return Line::Dropped;
                }
            },
            Read::End if text.is_empty() => return Line::End,
            Read::End => return Line::Text(text),
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
        if !grammar::parse(&text).is_err_and(|error| error.is_unfinished()) {
            return Line::Text(text);
        }
        text.push('\n');
        prompt = "> ";
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
    if history.lines.last().is_none_or(|last| last != line) {
        history.lines.push(line.to_owned());
    }
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
    let mut text = String::new();
    let (mut line, mut first_line) = (0, 1);
    loop {
        let ended = match plain::read_line(&shell.session) {
            Read::Line(octets) => {
                line += 1;
                match source::decode(&octets, NAME, line) {
                    Ok(decoded) => text.push_str(decoded),
                    Err(error) => {
                        shell.out().error(error.to_string(), error.status().0);
                        return error.status();
                    }
                }
                text.push('\n');
                false
            }
            Read::End => true,
            Read::Interrupted => return Status::INTERRUPTED,
            Read::Failed(error) => {
                shell
                    .out()
                    .error(format!("cannot read stdin: {error}"), Status::USAGE.0);
                return Status::USAGE;
            }
        };
        if !ended && grammar::parse(&text).is_err_and(|error| error.is_unfinished()) {
            continue;
        }
        let source = Source::new(NAME, &text, Origin::Stdin, first_line);
        shell.run_source(source, arguments);
        shell.session.screen.drain();
        text.clear();
        first_line = line + 1;
        if let Some(status) = shell.exit {
            return status;
        }
        if ended || shell.must_end() || shell.stopped {
            return shell.status;
        }
    }
}
