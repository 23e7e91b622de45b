//! What Tab offers: commands, options and their values, files, jobs, hosts, own ports.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;

use clap::ValueHint;

use super::Session;
use super::call::{self, Row};
use super::grammar::{self, Kind};
use super::scope::Scope;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) shown: String,
    pub(super) inserted: String,
}

/// Lines of history that hosts are offered from.
const HISTORY_LINES_MAX: usize = 200;

/// What there is to offer at this moment.
#[derive(Default)]
pub(super) struct State {
    aliases: Vec<String>,
    variables: Vec<String>,
    /// Numbers and names, with what they run.
    jobs: Vec<(String, String)>,
    /// For the hosts in them.
    history: Vec<String>,
    ports: Vec<String>,
}

impl State {
    pub(super) fn of(session: &Session, scope: &Scope) -> State {
        let mut state = State {
            aliases: scope.alias_names(),
            variables: variables(scope),
            ..State::default()
        };
        for job in session.jobs.running() {
            state.jobs.push((job.id.to_string(), job.line.clone()));
            state.jobs.push((job.name.clone(), String::new()));
            let listening = job.progress.listening();
            state.ports.extend(
                listening
                    .iter()
                    .map(|endpoint| endpoint.address().port().to_string()),
            );
        }
        state.jobs.push(("all".to_owned(), String::new()));
        let history = session
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let newest = history.lines.iter().rev().take(HISTORY_LINES_MAX);
        state.history = newest.cloned().collect();
        state
    }
}

fn variables(scope: &Scope) -> Vec<String> {
    let environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    scope.variables.keys().cloned().chain(environment).collect()
}

/// What may stand at the end of `line`, and where the word that it replaces begins.
pub(super) fn complete(line: &str, state: &State) -> (usize, Vec<Candidate>) {
    let (words, start) = words_of_last_command(line);
    let partial = &line[start..];
    if let Some(name) = partial.strip_prefix('$') {
        let names = state
            .variables
            .iter()
            .filter(|variable| variable.starts_with(name));
        let candidates = names.map(|name| Candidate {
            shown: format!("${name}"),
            inserted: format!("${name}"),
        });
        return (start, candidates.collect());
    }
    let Some(value) = unquote(partial) else {
        return (start, Vec::new());
    };
    (start, candidates(&words, &value, state))
}

/// The whole words before the last one, unquoted, and where the last one starts.
fn words_of_last_command(line: &str) -> (Vec<String>, usize) {
    let (tokens, _) = grammar::scan(line);
    let mut words = Vec::new();
    for token in &tokens {
        match token.kind {
            Kind::Word(_) if token.end == line.len() => return (words, token.start),
            Kind::Word(_) => {
                words.push(unquote(&line[token.start..token.end]).unwrap_or_default());
            }
            Kind::Operator(_) | Kind::Newline => words.clear(),
            Kind::Comment => {}
        }
    }
    (words, line.len())
}

/// The value of a word whose quote may still be open.
fn unquote(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    ["", "'", "\""]
        .iter()
        .filter_map(|closing| shlex::split(&format!("{text}{closing}")))
        .find(|words| words.len() == 1)
        .and_then(|words| words.into_iter().next())
}

fn candidates(words: &[String], value: &str, state: &State) -> Vec<Candidate> {
    let Some(name) = words.first() else {
        let commands = call::rows().map(|row| (row.manual().name, row.manual().summary));
        let aliases = state.aliases.iter().map(|alias| (alias.as_str(), "alias"));
        return commands
            .chain(aliases)
            .filter(|(name, _)| name.starts_with(value))
            .map(|(name, summary)| described(name, summary))
            .collect();
    };
    let Some(row) = call::find(name) else {
        return files(value);
    };
    match place(row, &words[1..], value) {
        Place::Option => options(row, value),
        Place::Command(nested) => candidates(nested, value, state),
        Place::Value(argument) => values(&argument, value, state),
        Place::Nothing => Vec::new(),
    }
}

/// What is expected after the words of a command.
enum Place<'a> {
    Option,
    /// The words of a command inside (`repeat -n 3 ping`).
    Command(&'a [String]),
    Value(Box<clap::Arg>),
    Nothing,
}

fn place<'a>(row: Row, words: &'a [String], value: &str) -> Place<'a> {
    // Built, it knows which options take a value.
    let mut command = call::command(row);
    command.build();
    let positionals: Vec<&clap::Arg> = command.get_positionals().collect();
    let mut position = 0;
    let mut index = 0;
    while index < words.len() {
        let word = &words[index];
        let here = positionals.get(position.min(positionals.len().saturating_sub(1)));
        if word == "--" {
            position = positionals.len().saturating_sub(1);
        } else if word.starts_with('-') && word.len() > 1 {
            if let Some(option) = option_named(&command, word) {
                index += 1;
                if index == words.len() {
                    return Place::Value(Box::new(option.clone()));
                }
            }
        } else if here.is_some_and(|argument| holds_command(argument)) {
            return Place::Command(&words[index..]);
        } else if !here.is_some_and(|argument| takes_many(argument)) {
            position += 1;
        }
        index += 1;
    }
    if value.starts_with('-') {
        return Place::Option;
    }
    match positionals.get(position) {
        Some(argument) if holds_command(argument) => Place::Command(&words[words.len()..]),
        Some(argument) => Place::Value(Box::new((*argument).clone())),
        None => Place::Nothing,
    }
}

/// The option that `word` names, where it takes its value from the next word.
fn option_named<'c>(command: &'c clap::Command, word: &str) -> Option<&'c clap::Arg> {
    command.get_opts().find(|option| {
        let long = option
            .get_long()
            .is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short = option
            .get_short()
            .is_some_and(|short| word[1..].chars().eq([short]));
        long || short
    })
}

fn holds_command(argument: &clap::Arg) -> bool {
    argument.get_value_hint() == ValueHint::CommandWithArguments
}

fn takes_many(argument: &clap::Arg) -> bool {
    argument
        .get_num_args()
        .is_some_and(|count| count.max_values() > 1)
}

fn options(row: Row, value: &str) -> Vec<Candidate> {
    let command = call::command(row);
    let mut found: Vec<Candidate> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter_map(|argument| Some((argument.get_long()?, argument.get_help())))
        .map(|(long, help)| {
            (
                format!("--{long}"),
                help.map(ToString::to_string).unwrap_or_default(),
            )
        })
        .filter(|(long, _)| long.starts_with(value))
        .map(|(long, help)| described(&long, &help))
        .collect();
    if "--help".starts_with(value) {
        found.push(described("--help", "Print help"));
    }
    found
}

fn values(argument: &clap::Arg, value: &str, state: &State) -> Vec<Candidate> {
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let names = possible.iter().map(|possible| possible.get_name());
        return names
            .filter(|name| name.starts_with(value))
            .map(plain)
            .collect();
    }
    let matching = |known: &mut dyn Iterator<Item = &String>| {
        known
            .filter(|known| known.starts_with(value))
            .map(|known| plain(known))
            .collect()
    };
    match (argument.get_id().as_str(), argument.get_value_hint()) {
        ("jobs" | "job", _) => state
            .jobs
            .iter()
            .filter(|(job, _)| job.starts_with(value))
            .map(|(job, line)| described(job, line))
            .collect(),
        ("port", _) => matching(&mut state.ports.iter()),
        (_, ValueHint::Hostname) => matching(&mut hosts(state).iter()),
        (_, ValueHint::FilePath | ValueHint::AnyPath | ValueHint::DirPath) => files(value),
        (_, ValueHint::CommandName) => {
            let names = call::rows().map(|row| row.manual().name);
            names
                .filter(|name| name.starts_with(value))
                .map(plain)
                .collect()
        }
        _ => Vec::new(),
    }
}

fn plain(text: &str) -> Candidate {
    described(text, "")
}

/// With a space behind it, so that the next word can be typed at once.
fn described(text: &str, description: &str) -> Candidate {
    let shown = if description.is_empty() {
        text.to_owned()
    } else {
        format!(
            "{text}  ({})",
            description.lines().next().unwrap_or_default()
        )
    };
    Candidate {
        shown,
        inserted: format!("{} ", grammar::quote(text)),
    }
}

fn files(value: &str) -> Vec<Candidate> {
    let (folder, prefix) = match value.rfind('/') {
        Some(slash) => value.split_at(slash + 1),
        None => ("", value),
    };
    let real = match (folder.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ if folder.is_empty() => Path::new(".").to_owned(),
        _ => Path::new(folder).to_owned(),
    };
    let Ok(entries) = real.read_dir() else {
        return Vec::new();
    };
    let mut found: Vec<Candidate> = entries
        .filter_map(|entry| entry.ok())
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path().is_dir())))
        .filter(|(name, _)| name.starts_with(prefix))
        .filter(|(name, _)| prefix.starts_with('.') || !name.starts_with('.'))
        .map(|(name, is_folder)| {
            let quoted = match folder.strip_prefix("~/") {
                // Quoted, the tilde would stand for itself.
                Some(rest) => format!("~/{}", grammar::quote(&format!("{rest}{name}"))),
                None => grammar::quote(&format!("{folder}{name}")),
            };
            let end = if is_folder { "/" } else { " " };
            Candidate {
                shown: format!("{name}{}", end.trim()),
                inserted: format!("{quoted}{end}"),
            }
        })
        .collect();
    found.sort_by(|a, b| a.shown.cmp(&b.shown));
    found
}

/// Those the system knows and those of this session.
fn hosts(state: &State) -> BTreeSet<String> {
    let mut hosts = known_hosts();
    hosts.extend(state.history.iter().flat_map(|line| hosts_in(line)));
    hosts
}

/// The names in /etc/hosts and those in ~/.ssh/known_hosts that are not hashed.
fn known_hosts() -> BTreeSet<String> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut hosts = BTreeSet::new();
    for line in read(Path::new("/etc/hosts")).lines() {
        let line = line.split('#').next().unwrap_or_default();
        hosts.extend(line.split_whitespace().skip(1).map(str::to_owned));
    }
    let known = std::env::home_dir().map(|home| read(&home.join(".ssh/known_hosts")));
    for line in known
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.starts_with(['#', '|', '@']))
    {
        let names = line.split_whitespace().next().unwrap_or_default();
        hosts.extend(names.split(',').map(bare_host));
    }
    hosts.retain(|host| !host.is_empty());
    hosts
}

/// `[host]:2222` is `host`.
fn bare_host(name: &str) -> String {
    let bracketed = name
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    bracketed.unwrap_or(name).to_owned()
}

/// The words of a line that stand where a host does.
fn hosts_in(line: &str) -> Vec<String> {
    let words = shlex::split(line).unwrap_or_default();
    let Some(row) = words.first().and_then(|name| call::find(name)) else {
        return Vec::new();
    };
    let is_host = |index: &usize| match place(row, &words[1..*index], "") {
        Place::Value(argument) => argument.get_value_hint() == ValueHint::Hostname,
        Place::Option | Place::Command(_) | Place::Nothing => false,
    };
    let indices = (1..words.len()).filter(|index| !words[*index].starts_with('-'));
    indices
        .filter(is_host)
        .map(|index| words[index].clone())
        .collect()
}

/// What follows a command's name, in grey: `[OPTIONS] <HOST>`.
pub(super) fn usage_hint(line: &str) -> Option<String> {
    let name = line.strip_suffix(' ')?;
    let row = call::find(name.trim_start())?;
    let usage = call::command(row).render_usage().to_string();
    let (_, arguments) = usage.lines().next()?.split_once(row.manual().name)?;
    Some(arguments.trim().to_owned()).filter(|arguments| !arguments.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            aliases: vec!["pi3".to_owned()],
            variables: vec!["HOST".to_owned()],
            jobs: vec![
                ("1".to_owned(), "ping 127.0.0.1".to_owned()),
                ("ping".to_owned(), String::new()),
                ("all".to_owned(), String::new()),
            ],
            history: vec!["ping -c 1 nshrouter".to_owned()],
            ports: vec!["13000".to_owned()],
        }
    }

    #[track_caller]
    fn check(line: &str, wanted: &[&str]) {
        let (start, found) = complete(line, &state());
        let whole = |candidate: &Candidate| format!("{}{}", &line[..start], candidate.inserted);
        let found: Vec<String> = found.iter().map(whole).collect();
        assert_eq!(found, wanted, "{line:?}");
    }

    #[test]
    fn commands_options_values_jobs_hosts_and_variables() {
        check("pi", &["ping ", "pi3 "]);
        check("echo a; ali", &["echo a; alias "]);
        check("ping --cou", &["ping --count "]);
        check("ping -c 3 nshr", &["ping -c 3 nshrouter "]);
        check("stop 1 p", &["stop 1 ping "]);
        check("ping -4 --cou", &["ping -4 --count "]);
        check("echo $HO", &["echo $HOST"]);
        check("upper 127.0.0.1 1", &["upper 127.0.0.1 13000 "]);
        check(
            "ping -c 1 --interval 0.5 nshr",
            &["ping -c 1 --interval 0.5 nshrouter "],
        );
        check("help unal", &[]);
        check("help ali", &["help alias "]);
    }

    #[test]
    fn a_command_inside_a_command() {
        check("repeat -n 3 pin", &["repeat -n 3 ping "]);
        check("repeat -n 3 ping nshr", &["repeat -n 3 ping nshrouter "]);
        check("timeout 3s ping --cou", &["timeout 3s ping --count "]);
        check(
            "expect --status 1 -- ping nshr",
            &["expect --status 1 -- ping nshrouter "],
        );
    }

    #[test]
    fn files_whatever_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        std::fs::write(path.join("a b.nsh"), "").expect("room on the disk");
        std::fs::create_dir(path.join("sub")).expect("room on the disk");
        let at = path.display();
        check(
            &format!("source {at}/a"),
            &[&format!("source '{at}/a b.nsh' ")],
        );
        check(
            &format!("source '{at}/a b"),
            &[&format!("source '{at}/a b.nsh' ")],
        );
        check(&format!("source {at}/su"), &[&format!("source {at}/sub/")]);
    }

    #[test]
    fn hints_show_the_usage() {
        assert_eq!(usage_hint("stop ").as_deref(), Some("[OPTIONS] <JOB>..."));
        assert_eq!(usage_hint("stop 1 "), None);
    }
}
