//! `nsh -c LINE`: results, messages and exit statuses.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use super::support::{matches, place, run, skipped};

#[track_caller]
fn check(line: &str, stdout: &str, stderr: &str, status: i32) {
    let ran = run(&["-c", line]);
    let fits = matches(stdout, &ran.stdout) && matches(stderr, &ran.stderr);
    assert!(fits && ran.status == status, "{line:?} gave {ran:#?}");
}

#[test]
fn values_operators_and_statuses() {
    check("echo hi", "hi\n", "", 0);
    check("set X='a b'; echo $X \"<$X>\"", "a b <a b>\n", "", 0);
    check("echo ${NOPE:-none} $? $#", "none 0 0\n", "", 0);
    check(
        "expect x -- echo y || echo caught $?",
        "y\ncaught 1\n",
        "expect: expected...",
        0,
    );
    check("echo a && echo b || echo c", "a\nb\n", "", 0);
    check(
        "wait 9 && echo no",
        "",
        "wait: no job '9': there are no jobs\n",
        1,
    );
    check("exit 7; echo no", "", "", 7);
    check(
        "timeout 50ms sleep 9",
        "",
        "timeout: sleep did not end in time\n",
        124,
    );
    check("time echo x", "x\n", "took ...\n", 0);
    check("repeat -n 2 echo x", "x\nx\n", "", 0);
    check("alias e2='echo -n a'; e2 'b c'", "-n a b c\n", "", 0);
    check("alias e='echo x'; repeat -n 2 e y", "x y\nx y\n", "", 0);
    check("set A=1; unset A; echo ${A:-gone}", "gone\n", "", 0);
}

#[test]
fn a_script_on_one_line_stops_at_the_first_failure() {
    check("wait 9; echo no", "", "wait: no job...", 1);
    check(
        "wait 9 || echo yes; echo on",
        "yes\non\n",
        "wait: no job...",
        0,
    );
    let ran = run(&["-k", "-c", "wait 9; echo on"]);
    assert_eq!((ran.stdout.as_str(), ran.status), ("on\n", 0));
}

#[test]
fn errors_say_where_and_what_to_do() {
    check(
        "pign x",
        "",
        "-c:1:1: unknown command 'pign' (did you mean 'ping'?)\n",
        127,
    );
    check(
        "zzzzzz",
        "",
        "-c:1:1: unknown command 'zzzzzz'; 'help' lists them\n",
        127,
    );
    check(
        "echo a; echo 'b",
        "",
        "-c:1:14: the quote ' is not closed\n",
        2,
    );
    check(
        "echo $NOPE",
        "",
        "-c:1:6: the variable NOPE is not set\n",
        2,
    );
    check(
        "a | b",
        "",
        "-c:1:3: '|' means nothing here; quote it...",
        2,
    );
    check(
        "ping --cuont 1 x",
        "",
        "-c:1:1: ping: unexpected argument '--cuont' found; tip: a similar argument exists: \
         '--count'; see 'help ping'\n",
        2,
    );
    check(
        "ping -c 0 x",
        "",
        "-c:1:1: ping: invalid value '0' for '--count <N>'...",
        2,
    );
    check(
        "ping -s 70000 x",
        "",
        "-c:1:1: ping: invalid value '70000' for '--size...",
        2,
    );
    check(
        "sleep 1 2",
        "",
        "-c:1:1: sleep: unexpected argument '2' found; see 'help sleep'\n",
        2,
    );
    check(
        "sleep soon",
        "",
        "-c:1:1: sleep: invalid value 'soon'...write seconds (0.5)...",
        2,
    );
    check("", "", "nsh: there is no command behind -c\n", 2);
    check("  ", "", "nsh: there is no command behind -c\n", 2);
    check(
        "''",
        "",
        "-c:1:1: unknown command ''; 'help' lists them\n",
        127,
    );
    check(
        "stop nosuch",
        "",
        "stop: no job 'nosuch': there are no jobs\n",
        1,
    );
    check(
        "help nosuch",
        "",
        "unknown command 'nosuch'; 'help' lists them\n",
        127,
    );
    check(
        "alias a='x; y'",
        "",
        "alias: 'x; y' is not one command with fixed arguments\n",
        2,
    );
    check(
        "alias a='echo $X'",
        "",
        "alias: 'echo $X' is not one command...",
        2,
    );
    check("set 1X=2", "", "set: '1X=2' is not NAME=VALUE...", 2);
    check("ask X", "", "", 1);
}

#[test]
fn a_thousand_commands_inside_each_other_are_refused() {
    let line = "repeat -n 1 ".repeat(1000) + "echo hi";
    check(
        &line,
        "",
        "repeat: more than 64 commands inside each other\n",
        2,
    );
}

#[test]
fn options_of_nsh() {
    let ran = run(&["--version"]);
    assert!(ran.stdout.starts_with("nsh ") && ran.status == 0, "{ran:?}");
    let ran = run(&["--help"]);
    assert!(
        ran.stdout.contains("Usage: nsh [OPTIONS] [FILE [ARG]]...") && ran.status == 0,
        "{ran:?}"
    );
    let ran = run(&["--colour", "never", "-c", "echo x"]);
    assert_eq!((ran.stdout.as_str(), ran.status), ("x\n", 0));
    let ran = run(&["--nonsense"]);
    assert!(
        ran.stderr.contains("unexpected argument '--nonsense'") && ran.status == 2,
        "{ran:?}"
    );
    let ran = run(&["ping", "127.0.0.1"]);
    let advice = "a command goes behind -c: nsh -c 'ping ...'\n";
    assert!(ran.stderr.ends_with(advice) && ran.status == 2, "{ran:?}");
    let ran = run(&["-q", "-c", "sleep 0 & wait; pign"]);
    assert_eq!(
        ran.stderr,
        "-c:1:17: unknown command 'pign' (did you mean 'ping'?)\n"
    );
    let ran = run(&["-c", "echo $1 $#", "a b", "c"]);
    assert_eq!(ran.stdout, "a b 2\n");
}

#[test]
fn colour_follows_the_option_and_the_environment() {
    let place = place();
    let stderr = |arguments: &[&str], name: &str, value: &str| {
        let output = place.nsh().args(arguments).env(name, value).output();
        String::from_utf8(output.expect("nsh starts").stderr).expect("UTF-8 output")
    };
    let is_red = |text: String| text.starts_with("\u{1b}[31m");
    assert!(!is_red(stderr(&["-c", "pign"], "X", "")), "a pipe");
    assert!(is_red(stderr(&["-c", "pign"], "CLICOLOR_FORCE", "1")));
    assert!(is_red(stderr(
        &["--color=always", "-c", "pign"],
        "NO_COLOR",
        "1"
    )));
    assert!(!is_red(stderr(
        &["--color=never", "-c", "pign"],
        "CLICOLOR_FORCE",
        "1"
    )));
}

#[test]
fn every_event_is_one_json_object() {
    let ran = run(&[
        "--json",
        "-c",
        "echo 'a\u{9b}\u{1b}[2J'; time sleep 0; pign",
    ]);
    let events = |text: &str| -> Vec<serde_json::Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"))
            .collect()
    };
    let out = events(&ran.stdout);
    assert_eq!(
        (&out[0]["event"], &out[0]["text"]),
        (&"text".into(), &"a\u{9b}\u{1b}[2J".into())
    );
    assert!(
        ran.stdout.is_ascii(),
        "nothing that steers a terminal: {}",
        ran.stdout
    );
    let notices = events(&ran.stderr);
    assert_eq!(notices[0]["event"], "time");
    assert_eq!(
        (&notices[1]["event"], &notices[1]["status"]),
        (&"error".into(), &127.into())
    );
}

#[test]
fn control_characters_never_reach_the_terminal() {
    check(
        "echo 'a\u{1b}]0;x\u{7}b\u{9b}c'",
        "a\\x1b]0;x\\x07b\\u{9b}c\n",
        "",
        0,
    );
}

#[test]
fn a_reader_that_has_seen_enough_ends_nsh_quietly() {
    let place = place();
    let mut child = place
        .nsh()
        .args(["-c", "repeat echo hi"])
        .spawn()
        .expect("nsh starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    drop(stdout);
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().expect("a pipe");
    pipe.read_to_string(&mut stderr).expect("UTF-8 output");
    let status = child.wait().expect("it ends").code();
    assert_eq!(
        (line.as_str(), stderr.as_str(), status),
        ("hi\n", "", Some(141))
    );
}

#[test]
fn a_full_disk_is_told() {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let Ok(full) = full else {
        skipped("there is no /dev/full here");
        return;
    };
    let place = place();
    let output = place
        .nsh()
        .args(["-c", "echo hi"])
        .stdout(Stdio::from(full))
        .output();
    let output = output.expect("nsh starts");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8 output");
    assert_eq!(stderr, "nsh: cannot write to stdout: no storage space\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn help_and_what_is_made_from_it() {
    let ran = run(&["-c", "help"]);
    for word in [
        "Network\n",
        "  ping ",
        "  upper ",
        "Jobs\n",
        "  expect ",
        "Shell\n",
    ] {
        assert!(ran.stdout.contains(word), "{word} in {}", ran.stdout);
    }
    let by_help = run(&["-c", "help ping"]).stdout;
    assert_eq!(by_help, run(&["-c", "ping --help"]).stdout);
    for word in [
        "Usage: ping [OPTIONS] [HOST]...",
        "Examples:",
        "Exit status:",
        "  77 ",
    ] {
        assert!(by_help.contains(word), "{word} in {by_help}");
    }
    let man = run(&["--man"]).stdout;
    for word in [".TH nsh 1", ".SH \"PING: ", ".SH \"EXPECT: ", "\\-\\-count"] {
        assert!(man.contains(word), "{word} in {man}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["--completions", shell]).stdout;
        assert!(
            script.contains("keep-going") && script.contains("ping"),
            "{shell}: {script}"
        );
    }
}
