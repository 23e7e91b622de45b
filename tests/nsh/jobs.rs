//! Signals, servers that keep running, and what is left when they end.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use super::support::{matches, place};

/// A server as the last command keeps nsh running until a signal ends both.
#[track_caller]
fn check_signal(signal: Signal, status: i32) {
    let place = place();
    let mut nsh = place.start(&["--json", "-c", "upper --server -p 0; echo end"]);
    let address = nsh.event("listening")["address"].clone();
    let address = address.as_str().expect("an address");
    assert_eq!(nsh.event("text")["text"], "end");
    let mut client = TcpStream::connect(address).expect("it serves");
    client.write_all(b"still here\n").expect("it serves");
    let mut answer = [0; 11];
    client.read_exact(&mut answer).expect("it serves");
    assert_eq!(&answer, b"STILL HERE\n");
    nsh.signal(signal);
    assert_eq!(nsh.end().status, status);
    assert!(TcpStream::connect(address).is_err(), "the port is free");
}

#[test]
fn a_server_keeps_nsh_running_until_a_signal() {
    check_signal(Signal::SIGINT, 130);
    check_signal(Signal::SIGTERM, 143);
    check_signal(Signal::SIGHUP, 129);
}

#[test]
fn what_was_ignored_stays_ignored() {
    let place = place();
    let nsh = env!("CARGO_BIN_EXE_nsh");
    let script = format!("trap '' HUP; exec {nsh} --json -c 'echo up; sleep 100'");
    let mut command = place.nsh();
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", &script])
        .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    command = sh;
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sh starts");
    let mut octet = [0];
    child
        .stdout
        .as_mut()
        .expect("a pipe")
        .read_exact(&mut octet)
        .expect("it is up");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    for signal in [Signal::SIGHUP, Signal::SIGTERM] {
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(143), "ended by SIGTERM, not by SIGHUP");
}

#[test]
fn ctrl_c_ends_the_whole_script() {
    let place = place();
    place.write("x.nsh", "echo start\nsleep 100\necho never\n");
    let mut nsh = place.start(&["x.nsh"]);
    assert_eq!(nsh.line(), "start");
    nsh.signal(Signal::SIGINT);
    let ran = nsh.end();
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str(), ran.status),
        ("", "", 130)
    );
}

#[test]
fn ctrl_c_reaches_a_command_inside_a_command() {
    let place = place();
    let line = "echo start; timeout 90 repeat time sleep 100; echo never";
    let mut nsh = place.start(&["-c", line]);
    assert_eq!(nsh.line(), "start");
    nsh.signal(Signal::SIGINT);
    let ran = nsh.end();
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 130), "{ran:?}");
}

#[test]
fn a_failed_script_does_not_keep_its_servers() {
    let ran = place().run(&["-c", "upper --server -p 0; wait 77"]);
    assert_eq!(ran.status, 1, "{ran:?}");
}

#[test]
fn exit_stops_what_runs() {
    let ran = place().run(&["-c", "upper --server -p 0; sleep 100 & exit 3"]);
    assert_eq!(ran.status, 3, "{ran:?}");
}

#[test]
fn at_the_end_background_jobs_are_waited_for() {
    let ran = place().run(&["-c", "repeat -n 2 -d 10ms echo tick &"]);
    let stderr = "[1] started: repeat -n 2 -d 10ms echo tick\n...";
    assert!(
        matches(stderr, &ran.stderr) && ran.stdout == "[1] tick\n[1] tick\n",
        "{ran:?}"
    );
}

#[test]
fn jobs_as_json() {
    let line = "upper --server -p 0; sleep 9 & jobs -l --json; exit";
    let ran = place().run(&["-q", "-c", line]);
    let rows: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let state =
        |row: &serde_json::Value| (row["id"].clone(), row["name"].clone(), row["state"].clone());
    assert_eq!(
        state(&rows[0]),
        (1.into(), "upper".into(), "running".into())
    );
    assert_eq!(
        state(&rows[1]),
        (2.into(), "sleep".into(), "running".into())
    );
    assert!(
        rows[0]["listening"][0]
            .as_str()
            .is_some_and(|at| at.starts_with("127.0.0.1:"))
    );
    assert!(
        rows[0]["last_line"]
            .as_str()
            .is_some_and(|line| line.contains("listening on"))
    );
}

#[test]
fn a_job_logs_to_a_file_whatever_the_screen_shows() {
    let place = place();
    let line = "upper --server -p 0 --log up.log; stop upper";
    let ran = place.run(&["-c", line]);
    let log = place.read("up.log");
    assert!(
        matches("20...T... listening on 127.0.0.1:...\n", &log),
        "{log:?} {ran:?}"
    );
    place.run(&[
        "-c",
        "repeat -n 2 repeat -n 1 --log in.log expect --log deep.log x -- echo x",
    ]);
    let (inner, deep) = (place.read("in.log"), place.read("deep.log"));
    assert!(
        matches(
            "20... x\n20... ok: 'x' from 'echo x'\n20... x\n20...",
            &inner
        ),
        "{inner}"
    );
    assert_eq!(deep.lines().count(), 4, "{deep}");
    let ran = place.run(&["-c", "upper --server --log /nonexistent/x"]);
    let stderr = "upper: cannot append to log file '/nonexistent/x': No such file or directory\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (stderr, 2));
}

#[test]
fn logs_follow_a_job_to_its_end() {
    let line = "repeat -n 3 -d 20ms echo tick & logs -f 1";
    let ran = place().run(&["-q", "-c", line]);
    let followed = ran.stdout.lines().filter(|line| *line == "tick").count();
    assert_eq!(followed, 3, "{ran:?}");
}

#[test]
fn a_server_that_cannot_start_is_the_commands_failure() {
    let ran = place().run(&[
        "-c",
        "upper --server -b 192.0.2.1 -p 9 || echo status $?; jobs",
    ]);
    let stderr = "upper: cannot listen on 192.0.2.1:9 (TCP): ...";
    assert!(
        matches(stderr, &ran.stderr) && ran.stdout == "status 69\n",
        "{ran:?}"
    );
}

#[test]
fn ctrl_c_ends_a_script_of_commands_that_end_at_once() {
    let place = place();
    place.write("x.nsh", "echo line\n".repeat(300_000));
    let mut nsh = place.start(&["x.nsh"]);
    assert_eq!(nsh.line(), "line");
    nsh.signal(Signal::SIGINT);
    assert_eq!(nsh.end().status, 130);
}

#[test]
fn a_question_ends_with_who_asked_it() {
    let place = place();
    let mut command = place.nsh();
    // A stdin that stays open and says nothing.
    command
        .args(["-c", "timeout 50ms ask X"])
        .stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("nsh starts");
    let _watchdog = super::support::Watchdog::of(&child);
    let _silent = child.stdin.take();
    assert_eq!(child.wait().expect("it ends").code(), Some(124));
    let ran = place.run_with_input(&[], "timeout 50ms sleep 9 || ask X\nanswer\necho $X\n");
    assert_eq!(ran.stdout, "answer\n", "{ran:?}");
    let ran = place.run_with_input(&[], "ask X\na\0b\necho $X\n");
    assert_eq!(ran.stdout, "ab\n", "{ran:?}");
}

#[test]
fn many_short_jobs_leave_nothing_open() {
    let place = place();
    place.write("x.nsh", "sleep 0 & wait\n".repeat(300) + "jobs\n");
    let nsh = env!("CARGO_BIN_EXE_nsh");
    let output = std::process::Command::new("prlimit")
        .args(["--nofile=64:64", nsh, "-q", "x.nsh"])
        .current_dir(place.path())
        .output()
        .expect("prlimit of util-linux");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(stdout.lines().count(), 32, "{stdout}");
}

#[test]
fn a_job_neither_waits_for_itself_nor_stops_itself() {
    let ran = place().run(&[
        "-q",
        "-c",
        "wait 1 & wait 1; sleep 9 & stop all & wait 3; jobs",
    ]);
    assert!(
        matches(
            "...[2]   stopped ...[3]   done (0) ... stop all\n",
            &ran.stdout
        ),
        "{ran:?}"
    );
}

#[test]
fn what_is_no_file_cannot_be_a_log() {
    let ran = place().run(&["-c", "sleep 0 --log /dev/null"]);
    let stderr = "sleep: cannot append to log file '/dev/null': it is not a regular file\n";
    assert_eq!((ran.stderr.as_str(), ran.status), (stderr, 2));
}
