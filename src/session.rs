//! One run of nsh, from the first command to the last job's end.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc::{SIGINT, SIGPIPE};
use nix::poll::PollFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cancel::{Bell, Cancel};
use crate::cause;
use crate::input::{Desk, Input};
use crate::job::{JobTable, guarded, silence_panics};
use crate::net::tcp;
use crate::output::{Choice, Colours, Journal, Output, Screen, Surface};
use crate::shell::{self, Origin, Session, Shell, Source};
use crate::tool::{Context, Status};

/// Where the commands come from.
pub(crate) enum Face {
    Line {
        line: String,
        arguments: Vec<String>,
    },
    Script {
        file: PathBuf,
        arguments: Vec<String>,
    },
    Stdin {
        arguments: Vec<String>,
    },
    Prompt {
        rc_file: Option<PathBuf>,
    },
}

pub(crate) struct Options {
    pub(crate) json: bool,
    pub(crate) colour: Choice,
    pub(crate) quiet: bool,
    pub(crate) keep_going: bool,
}

pub(crate) fn run(face: Face, options: &Options) -> Status {
    silence_panics();
    raise_descriptor_limit();
    let interactive = matches!(face, Face::Prompt { .. });
    // A script may ask for a password.
    shell::remember_terminal();
    let mut shell = match open(interactive, options) {
        Ok(shell) => shell,
        Err(error) => {
            Screen::last_words(&format!("nsh cannot start: {}", cause::of(&error)));
            return Status::UNAVAILABLE;
        }
    };
    let status = guarded(|| run_face(&mut shell, face)).unwrap_or_else(|panic| {
        let text = format!("nsh: internal error, please report it: {panic}");
        shell.out().error(text, Status::INTERNAL.0);
        Status::INTERNAL
    });
    shell.session.leave_to_signal();
    let status = if interactive {
        status
    } else {
        serve_on(&shell, status)
    };
    shell.session.leave_to_signal();
    shell.session.jobs.stop_all();
    shell.session.screen.drain();
    shell::restore_terminal();
    match shell.session.screen.lost() {
        None => status,
        // Quiet, like any program whose reader has seen enough.
        Some(io::ErrorKind::BrokenPipe) => Status::of_signal(SIGPIPE),
        Some(kind) => {
            Screen::last_words(&format!("nsh: cannot write to stdout: {kind}"));
            Status::NEGATIVE
        }
    }
}

fn open(interactive: bool, options: &Options) -> io::Result<Shell> {
    // Before there are threads.
    tcp::widen_descriptor_table();
    let bell = Arc::new(Bell::new()?);
    let surface = if io::stdout().is_terminal() {
        Surface::Terminal
    } else {
        Surface::Lossless
    };
    let screen = Screen::new(surface, Colours::resolve(options.colour), Arc::clone(&bell));
    let desk = Arc::new(Desk::new(bell));
    let out = Output::new(
        Journal::of_shell(Arc::clone(&screen)),
        options.json,
        options.quiet,
    );
    let input = Input::new(Arc::clone(&desk), Arc::clone(out.journal()));
    let jobs = JobTable::new(
        Arc::clone(&screen),
        out.clone(),
        Arc::clone(&desk),
        interactive,
    );
    let session = Session::new(
        Arc::new(jobs),
        screen,
        desk,
        interactive,
        options.keep_going,
    );
    let session = Arc::new(session);
    shell::start_signals(Arc::clone(&session))?;
    let context = Context {
        neighbours: Arc::new(|_| None),
        out,
        input,
        cancel: Cancel::new()?,
        progress: Arc::default(),
    };
    Ok(Shell::new(session, context))
}

fn run_face(shell: &mut Shell, face: Face) -> Status {
    if !matches!(face, Face::Prompt { .. }) {
        // Without the printer's thread, lines wait until a command ends.
        let _ = shell.session.screen.start_printer(None);
    }
    match face {
        Face::Line { line, arguments } => {
            if line.trim().is_empty() {
                shell
                    .out()
                    .error("nsh: there is no command behind -c", Status::USAGE.0);
                return Status::USAGE;
            }
            let status =
                shell.run_source(Source::new("-c", &line, Origin::CommandLine, 1), &arguments);
            shell.exit.unwrap_or(status)
        }
        Face::Script { file, arguments } => run_script(shell, &file, &arguments),
        Face::Stdin { arguments } => shell::run_stdin(shell, &arguments),
        Face::Prompt { rc_file } => shell::run_prompt(shell, rc_file),
    }
}

fn run_script(shell: &mut Shell, file: &Path, arguments: &[String]) -> Status {
    match Source::open(file) {
        Ok(source) => {
            let status = shell.run_source(source, arguments);
            shell.exit.unwrap_or(status)
        }
        Err(error) => {
            let name = file.display().to_string();
            let advice = match shell::is_command(&name) {
                true => format!("; a command goes behind -c: nsh -c '{name} ...'"),
                false => String::new(),
            };
            shell
                .out()
                .error(format!("nsh: {error}{advice}"), error.status().0);
            error.status()
        }
    }
}

/// After the last command nsh goes on as long as jobs run: `nsh -c serve` serves. `exit`, a
/// script that failed, and Ctrl-C end them.
fn serve_on(shell: &Shell, status: Status) -> Status {
    let session = &shell.session;
    if shell.ended_early() {
        return status;
    }
    let running = session.jobs.running();
    if !running.is_empty() {
        session.screen.drain();
        shell.out().notice(format!(
            "{} still running; Ctrl-C ends it all",
            jobs(running.len())
        ));
    }
    while session.screen.lost().is_none() {
        session.desk.bell.clear();
        // Jobs may have started others.
        let running = session.jobs.running();
        for job in &running {
            job.progress.watch(&session.desk.bell);
        }
        if session.desk.take_signal() == Some(SIGINT) {
            return Status::INTERRUPTED;
        }
        if running.iter().all(|job| job.ended().is_some()) {
            break;
        }
        let bell = session.desk.bell.as_fd();
        let _ = shell.context.cancel.wait(bell, PollFlags::POLLIN, None);
    }
    status
}

fn jobs(count: usize) -> String {
    if count == 1 {
        "1 job".to_owned()
    } else {
        format!("{count} jobs")
    }
}

/// Servers need many descriptors; the usual soft limit of 1,024 is for old select(2) users.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
