//! `expect`: checks what a command or a job says, so that a script is a test.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory, Parser, ValueHint};
use nix::poll::PollFlags;
use serde::Serialize;

use super::{Builtin, read};
use crate::cancel::Wake;
use crate::job::{Job, select};
use crate::output::{Event, Tone, says};
use crate::shell::Shell;
use crate::tool::{Error, Example, Group, Manual, Status};
use crate::{clock, duration};

pub(super) const BUILTIN: Builtin = Builtin {
    manual: Manual {
        name: "expect",
        summary: "check what a command or a job says",
        group: Group::Scripts,
        examples: &[
            Example {
                line: "expect '0% packet loss' -- ping -c 1 127.0.0.1",
                what: "the text is in its output",
            },
            Example {
                line: "expect --status 2 -- ping",
                what: "it ends with this status",
            },
            Example {
                line: "expect --not error -- echo fine",
                what: "the text is not there",
            },
            Example {
                line: "ping -i 0.1 127.0.0.1 & expect 'seq=2' from ping within 2s; stop ping",
                what: "a running job prints it in time",
            },
        ],
        statuses: &[(Status::NEGATIVE, "it was not so")],
        command: Arguments::command,
    },
    run,
    waits: true,
};

/// How long a job has to say what is expected, without `within`.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(
    override_usage = "expect [--status N] [--not] [TEXT]... -- COMMAND...\n       \
                            expect [--not] TEXT... from JOB [within SPAN]"
)]
struct Arguments {
    /// Each must be in the output; `from JOB within SPAN` looks at a job instead of a command
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// The command must end with this status; without TEXT 0 is expected
    #[arg(long, value_name = "N")]
    status: Option<u8>,
    /// None of the texts may be there
    #[arg(long)]
    not: bool,
    /// The command and its arguments
    #[arg(last = true, allow_hyphen_values = true, value_hint = ValueHint::CommandWithArguments)]
    command: Vec<String>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "expectation")]
struct Expectation {
    met: bool,
    expected: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instead {
            None => write!(f, "ok: {}", self.expected),
            Some(instead) => write!(f, "expected {}, but {instead}", self.expected),
        }
    }
}

impl Event for Expectation {
    fn tone(&self) -> Tone {
        if self.met { Tone::Good } else { Tone::Bad }
    }
}

fn run(shell: &mut Shell, matches: &ArgMatches) -> Result<Status, Error> {
    let arguments: Arguments = read(matches)?;
    if !arguments.command.is_empty() {
        return of_command(shell, &arguments);
    }
    let (texts, job, within) = of_job_words(&arguments.texts)?;
    if arguments.status.is_some() {
        return Err(Error::Usage(
            "--status needs a command behind --".to_owned(),
        ));
    }
    let jobs = select(&shell.session.jobs.listed(), &[job.to_owned()])?;
    // Of several jobs of one command the newest is meant.
    let newest = jobs.iter().max_by_key(|job| job.id);
    let job = newest.ok_or_else(|| Error::Negative(format!("no job '{job}'")))?;
    of_job(shell, texts, arguments.not, job, within)
}

/// `TEXT... from JOB [within SPAN]`.
fn of_job_words(words: &[String]) -> Result<(&[String], &str, Duration), Error> {
    let (words, within) = match words {
        [words @ .., keyword, span] if keyword == "within" => {
            let span = duration::parse(span)
                .map_err(|error| Error::Usage(format!("within '{span}': {error}")))?;
            (words, span)
        }
        _ => (words, WITHIN),
    };
    match words {
        [texts @ .., keyword, job] if keyword == "from" && !texts.is_empty() => {
            Ok((texts, job, within))
        }
        _ => Err(Error::Usage(
            "what is to be checked is missing: 'expect TEXT -- COMMAND' or \
             'expect TEXT from JOB within 2s'"
                .to_owned(),
        )),
    }
}

fn of_command(shell: &mut Shell, arguments: &Arguments) -> Result<Status, Error> {
    let (out, capture) = shell.out().captured();
    let status = shell.run_words_until(&arguments.command, None, out)?;
    let output = capture.text();
    let command = arguments.command.join(" ");
    let wanted = arguments.status.or(arguments.texts.is_empty().then_some(0));
    if let Some(wanted) = wanted {
        let expected = format!("status {wanted} of '{command}'");
        let instead = (wanted != status.0).then(|| format!("it was {}", status.0));
        tell(shell, expected, instead)?;
    }
    for text in &arguments.texts {
        let found = says(&output, text);
        let instead = (found == arguments.not).then(|| {
            if found {
                "it is there".to_owned()
            } else {
                what_came(&output)
            }
        });
        let no = if arguments.not { "no " } else { "" };
        tell(shell, format!("{no}'{text}' from '{command}'"), instead)?;
    }
    Ok(Status::OK)
}

/// The last line that says anything.
fn what_came(output: &str) -> String {
    match output.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("the last line was '{line}'"),
        None => "it printed nothing".to_owned(),
    }
}

fn of_job(
    shell: &mut Shell,
    texts: &[String],
    not: bool,
    job: &Job,
    within: Duration,
) -> Result<Status, Error> {
    let bell = job.follow()?;
    let deadline = clock::now() + within;
    let span = duration::human(within);
    let says = |text: &String| {
        let (lines, _) = job.output.journal().lines_after(0);
        lines.iter().any(|line| line.says(text))
    };
    for text in texts {
        let found = loop {
            bell.clear();
            let ended = job.ended().is_some();
            if says(text) || ended {
                break says(text);
            }
            let woken =
                shell
                    .context
                    .cancel
                    .wait(bell.as_fd(), PollFlags::POLLIN, Some(deadline))?;
            if woken == Wake::TimedOut {
                break says(text);
            }
        };
        let no = if not { "no " } else { "" };
        let expected = format!("{no}'{text}' from [{}] {} within {span}", job.id, job.line);
        let instead = (found == not).then(|| {
            let (lines, _) = job.output.journal().lines_after(0);
            let lines: Vec<&str> = lines
                .iter()
                .map(|line| &**line.human.as_ref().unwrap_or(&line.text))
                .collect();
            if found {
                "it is there".to_owned()
            } else {
                what_came(&lines.join("\n"))
            }
        });
        tell(shell, expected, instead)?;
    }
    Ok(Status::OK)
}

/// Says whether it was as expected; if not, that is the command's end.
fn tell(shell: &Shell, expected: String, instead: Option<String>) -> Result<(), Error> {
    let expectation = Expectation {
        met: instead.is_none(),
        expected,
        instead,
    };
    if expectation.met {
        shell.out().tell(&expectation);
        return Ok(());
    }
    Err(Error::Negative(expectation.to_string()))
}
