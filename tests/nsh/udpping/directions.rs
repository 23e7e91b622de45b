//! Who lost it: what the client says of the two ways equals what the server has counted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{events, listen, named};
use crate::support::place;

/// What became of a run against an own server, and what the server says of it.
struct Both {
    statistics: Value,
    /// Of the server.
    counted: Value,
    /// Numbers of the requests and replies that it lost.
    requests: BTreeSet<u64>,
    replies: BTreeSet<u64>,
}

fn run(server: &str, client: &str) -> Both {
    let mut listening = listen(&format!("{server} -v"));
    let line = format!("udpping -q {client} {}", listening.address);
    let ran = place().run(&["--json", "-c", &line]);
    assert!(ran.stderr.is_empty(), "{ran:?}");
    let statistics = named(&events(&ran.stdout), "statistics")[0].clone();
    listening.nsh.signal(nix::sys::signal::Signal::SIGTERM);
    let told = events_to_the_end(&mut listening);
    let number = |event: &&Value| {
        let request = event["request"].as_str().expect("a text");
        let words: Vec<&str> = request.split(' ').collect();
        (words[0] == "PING").then(|| words[1].parse().expect("a number"))
    };
    let lost = named(&told, "lost");
    let answered = named(&told, "answered");
    let without_reply = answered.iter().filter(|event| event["fate"] == "lost");
    Both {
        statistics,
        counted: named(&told, "server_statistics")[0].clone(),
        requests: lost.iter().filter_map(number).collect(),
        replies: without_reply
            .copied()
            .filter_map(|event| number(&event))
            .collect(),
    }
}

/// All up to the last one.
fn events_to_the_end(listening: &mut super::Listening) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let line = listening.nsh.line();
        let event: Value = serde_json::from_str(&line).expect("a JSON line");
        let is_last = event["event"] == "server_statistics";
        told.push(event);
        if is_last {
            return told;
        }
    }
}

fn figure(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {value}"))
}

fn numbers(value: &Value) -> BTreeSet<u64> {
    let numbers = value.as_array().expect("an array").iter();
    numbers
        .map(|number| number.as_u64().expect("a number"))
        .collect()
}

/// The pinger asks at the end how many came, so nothing is left open.
#[track_caller]
fn check(server: &str) {
    for seed in 1..=4 {
        let both = run(
            &format!("--server {server} --seed {seed}"),
            "-c 80 -i 500us -t 2s",
        );
        let Both {
            statistics,
            counted,
            ..
        } = &both;
        let say = format!("{server} seed {seed}: {statistics:#} {counted:#}");
        let directions = &statistics["directions"];
        for name in ["requests_lost", "replies_lost"] {
            assert_eq!(directions[name], counted[name], "{name} of {say}");
        }
        assert_eq!(directions["undecided"], 0, "{say}");
        assert_eq!(directions["requests_doubled"], 0, "{say}");
        assert_eq!(directions["restarts"], 0, "{say}");
        assert_eq!(
            figure(counted, "received"),
            figure(statistics, "sent"),
            "{say}"
        );
        assert!(
            numbers(&directions["requests"]).is_subset(&both.requests),
            "{say}"
        );
        assert!(
            numbers(&directions["replies"]).is_subset(&both.replies),
            "{say}"
        );
        assert!(
            figure(statistics, "duplicates") <= figure(counted, "duplicated"),
            "{say}"
        );
    }
}

#[test]
fn losses_there() {
    check("--loss 30%");
}

#[test]
fn losses_back() {
    check("--reply-loss 30%");
}

#[test]
fn losses_in_both_directions() {
    check("--loss 25% --reply-loss 25%");
}

#[test]
fn bursts() {
    check("--loss 20% --reply-loss 20% --burst 6");
}

#[test]
fn replies_that_overtake_each_other_and_come_twice() {
    check("--loss 15% --reply-loss 15% --jitter 20ms --duplicate 30%");
}

/// Without any loss there is none, whatever else happens.
#[test]
fn no_loss() {
    let both = run(
        "--server --duplicate 100% --jitter 5ms",
        "-c 50 -i 500us -t 2s",
    );
    let directions = &both.statistics["directions"];
    assert_eq!(both.statistics["lost"], 0);
    assert_eq!(
        (&directions["requests_lost"], &directions["replies_lost"]),
        (&json!(0), &json!(0))
    );
}

/// Nothing at all came back, but the server can still be asked.
#[test]
fn nothing_comes_back() {
    let both = run("--server --reply-loss 100%", "-c 10 -i 1ms -t 20ms");
    assert_eq!(both.statistics["received"], 0);
    assert_eq!(both.counted["replies_lost"], 10);
}

/// STAMP cannot ask: what was lost after the last reply stays open.
#[test]
fn stamp_tells_what_it_can() {
    for seed in 1..=4 {
        let server = format!("--reflector --loss 25% --reply-loss 20% --seed {seed}");
        let Both {
            statistics,
            counted,
            ..
        } = run(&server, "--stamp -c 80 -i 500us -t 2s");
        let say = format!("seed {seed}: {statistics:#} {counted:#}");
        let directions = &statistics["directions"];
        let [there, back, open] =
            ["requests_lost", "replies_lost", "undecided"].map(|name| figure(directions, name));
        assert_eq!(there + back + open, figure(&statistics, "lost"), "{say}");
        assert!(there <= figure(&counted, "requests_lost"), "{say}");
        assert!(figure(&counted, "requests_lost") <= there + open, "{say}");
        assert!(back <= figure(&counted, "replies_lost"), "{say}");
        assert!(figure(&counted, "replies_lost") <= back + open, "{say}");
        let lost = numbers(&directions["requests"]).len() + numbers(&directions["replies"]).len();
        assert!(lost as u64 <= there + back, "{say}");
    }
}

#[test]
fn in_words() {
    let listening = listen("--server --loss 40% --seed 3");
    let line = format!("udpping -c 20 -i 1ms -t 2s {}", listening.address);
    let ran = place().run(&["-c", &line]);
    let counted = listening.stop_and_count();
    let lost = figure(&counted, "requests_lost");
    let line = format!("({}%): {lost} on the way there", lost * 5);
    assert!(ran.stdout.contains(&line), "{line}: {ran:#?}");
    let open = ran.stdout.contains("nobody knows") || ran.stdout.contains("on the way back");
    assert!(!open, "{ran:#?}");
}
