//! `trace` in front of simulated routers; that needs root.

use super::routers::{Hop, Packet, Path, Permitted, Ran, TCP, Target, UDP};
use super::support::{matches, place, privileged};

const ALL: [Permitted; 2] = [Permitted::Raw, Permitted::Datagram];

fn run(path: Path, permitted: Permitted, line: &str) -> Ran {
    path.run(permitted, env!("CARGO_BIN_EXE_nsh"), &["-c", line])
}

/// The hop lines without their times, and the verdict.
fn summary(ran: &Ran) -> String {
    let lines: Vec<&str> = ran.stdout.lines().skip(1).collect();
    let without_times = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_time = |at: usize| words[at] == "ms" || words.get(at + 1) == Some(&"ms");
        let kept = (0..words.len())
            .filter(|at| !is_time(*at))
            .map(|at| words[at]);
        kept.collect::<Vec<&str>>().join(" ")
    };
    let kept = lines.iter().filter(|line| !line.contains("packets sent"));
    kept.map(|line| without_times(line))
        .collect::<Vec<_>>()
        .join("; ")
}

#[track_caller]
fn check(path: Path, permitted: Permitted, line: &str, expected: &str, status: i32) -> Ran {
    let ran = run(path, permitted, line);
    let fits = matches(expected, &summary(&ran)) && ran.status == status;
    assert!(fits, "{permitted:?} {line}: {}\n{ran:#?}", summary(&ran));
    ran
}

#[test]
fn all_protocols_and_families_with_and_without_privileges() {
    if !privileged("all_protocols_and_families_with_and_without_privileges") {
        return;
    }
    let v4 = "1 10.9.1.1; 2 10.9.2.1; 3 10.9.3.1; 4 10.10.0.1; reached 10.10.0.1 in 4 hops...";
    let v6 = "1 fd09:1::1; 2 fd09:2::1; 3 fd09:3::1; 4 fd10::1; reached fd10::1 in 4 hops...";
    for permitted in ALL {
        for kind in ["icmp", "udp", "tcp", "tcp --port 81"] {
            for (host, expected) in [("10.10.0.1", v4), ("fd10::1", v6)] {
                let line = format!("trace -n -p {kind} {host}");
                let ran = check(Path::of(3), permitted, &line, expected, 0);
                let port = match kind {
                    "tcp" => "in 4 hops: its port is open\n",
                    "tcp --port 81" => "in 4 hops: its port is closed\n",
                    _ => "in 4 hops\n",
                };
                assert!(ran.stdout.contains(port), "{ran:#?}");
                assert!(ran.stdout.contains(" packets sent, 0 lost"), "{ran:#?}");
            }
        }
    }
}

#[test]
fn without_permission_for_icmp_it_takes_udp_and_says_so() {
    if !privileged("without_permission_for_icmp_it_takes_udp_and_says_so") {
        return;
    }
    let expected = "1 10.9.1.1; 2 10.10.0.1; reached 10.10.0.1 in 2 hops";
    let ran = check(
        Path::of(1),
        Permitted::Nothing,
        "trace -n 10.10.0.1",
        expected,
        0,
    );
    assert_eq!(
        ran.stderr,
        "trace: this user may not send ICMP; tracing with UDP instead\n"
    );
    assert!(ran.stdout.contains("60 byte packets, UDP\n"), "{ran:#?}");
}

/// What routers look at when they choose a way.
type Fields = fn(&Packet) -> Vec<u8>;

#[test]
fn all_packets_of_a_trace_are_one_flow() {
    if !privileged("all_packets_of_a_trace_are_one_flow") {
        return;
    }
    let checks: [(&str, Fields); 3] = [
        // Type, code, checksum and identifier.
        ("icmp", |packet| packet.transport()[..6].to_vec()),
        // Both ports.
        ("udp", |packet| packet.transport()[..4].to_vec()),
        ("tcp", |packet| packet.transport()[..4].to_vec()),
    ];
    for (protocol, flow) in checks {
        for host in ["10.10.0.1", "fd10::1"] {
            let ran = run(
                Path::of(4),
                Permitted::Raw,
                &format!("trace -n -p {protocol} {host}"),
            );
            // The kernel's own resets are no probes.
            let is_probe = |packet: &&Packet| packet.protocol != TCP || packet.transport()[13] == 2;
            let flows: Vec<Vec<u8>> = ran.sent.iter().filter(is_probe).map(flow).collect();
            assert!(
                flows.len() >= 15 && flows.iter().all(|other| *other == flows[0]),
                "{ran:#?}"
            );
        }
    }
    let parallel = || Path::of(3).hop(Hop::at(2).also("10.9.33.1"));
    for permitted in ALL {
        for protocol in ["icmp", "udp"] {
            let ran = run(
                parallel(),
                permitted,
                &format!("trace -n -p {protocol} 10.10.0.1"),
            );
            let second = ran.stdout.lines().nth(2).unwrap_or_default().to_owned();
            let met = [second.contains("10.9.2.1"), second.contains("10.9.33.1")];
            assert_eq!(met.iter().filter(|met| **met).count(), 1, "{second}");
        }
    }
}

#[test]
fn silence_limits_and_loss_are_told_apart() {
    if !privileged("silence_limits_and_loss_are_told_apart") {
        return;
    }
    for permitted in ALL {
        let path = Path::of(3).hop(Hop::at(2).silent());
        let expected = "1 10.9.1.1; 2 * * *; 3 10.9.3.1; 4 10.10.0.1; reached 10.10.0.1 in 4 hops";
        let ran = check(path, permitted, "trace -n 10.10.0.1", expected, 0);
        assert!(
            ran.stdout.contains(" 0 lost, 3 ignored by routers"),
            "{ran:#?}"
        );
        let path = Path::of(2).hop(Hop::at(2).limited(1));
        let expected = "1 10.9.1.1; 2 10.9.2.1 [limits its answers]; 3 10.10.0.1; reached...";
        let ran = check(path, permitted, "trace -n 10.10.0.1", expected, 0);
        assert!(
            ran.stdout.contains(" 0 lost, 2 ignored by routers"),
            "{ran:#?}"
        );
        let lossy = Target::default().loses(|n| n == 2);
        let path = Path::of(1).target(lossy);
        let ran = check(
            path,
            permitted,
            "trace -n 10.10.0.1",
            "1 10.9.1.1; 2 10.10.0.1 *; r...",
            0,
        );
        assert!(ran.stdout.contains("1 lost"), "{ran:#?}");
    }
}

/// As stock Linux routers do it, though with a shorter period.
#[test]
fn traces_one_after_the_other_name_all_hops_of_limited_routers() {
    if !privileged("traces_one_after_the_other_name_all_hops_of_limited_routers") {
        return;
    }
    for protocol in ["icmp", "udp"] {
        let half_a_second = std::time::Duration::from_millis(500);
        let path = Path::of(2).hop(Hop::at(2).limited_to_one_per(half_a_second));
        let line = format!("repeat -n 3 trace -n -p {protocol} 10.10.0.1");
        let ran = run(path, Permitted::Raw, &line);
        assert_eq!(ran.stdout.matches(" 2  10.9.2.1 ").count(), 3, "{ran:#?}");
    }
}

#[test]
fn where_a_path_ends_is_said() {
    if !privileged("where_a_path_ends_is_said") {
        return;
    }
    for permitted in ALL {
        let path = Path::of(4).target(Target::default().silent());
        let expected = "1 10.9.1.1; 2 10.9.2.1; 3 10.9.3.1; 4 10.9.4.1; 5 * * *; \
                        nothing answers after hop 4 (10.9.4.1)";
        check(path, permitted, "trace -n 10.10.0.1", expected, 1);
        let path = Path::of(3).hop(Hop::at(2).unreachable(13));
        let expected = "1 10.9.1.1; 2 10.9.2.1 !X !X !X; 10.9.2.1 (hop 2) forbids it: a filter";
        check(path, permitted, "trace -n 10.10.0.1", expected, 1);
        let expected = "1 10.9.1.1; 2 10.9.1.1 !N...; 10.9.1.1 (hop 2) has no route to 192.0.2.1";
        check(Path::of(1), permitted, "trace -n 192.0.2.1", expected, 1);
        let expected = "1 10.9.1.1; 2 10.9.2.1; 3 10.9.3.1; 4 10.9.2.1; routing loop: \
                        10.9.2.1 (hop 2) and 10.9.3.1 (hop 3) send packets round and round";
        check(
            Path::of(4).looping(2, 3),
            permitted,
            "trace -n 10.10.0.1",
            expected,
            1,
        );
    }
}

#[test]
fn what_routers_add_and_translate_is_shown() {
    if !privileged("what_routers_add_and_translate_is_shown") {
        return;
    }
    for permitted in ALL {
        for protocol in ["icmp", "udp"] {
            let labelled = Hop::at(1).labels(&[(16001, 0, false, 1), (24005, 5, true, 1)]);
            let line = format!("trace -n -p {protocol} -s 200 fd10::1");
            let expected = "1 fd09:1::1 <MPLS:L=16001,E=0,S=0,T=1/L=24005,E=5,S=1,T=1>; \
                            2 fd10::1; reached fd10::1 in 2 hops";
            check(Path::of(1).hop(labelled), permitted, &line, expected, 0);
            let named = Hop::at(1).interface("eth0").quoting(200);
            let line = format!("trace -n -p {protocol} -s 200 10.10.0.1");
            let expected = "1 10.9.1.1 <...eth0>; 2 10.10.0.1; reached...";
            check(Path::of(1).hop(named), permitted, &line, expected, 0);
        }
    }
    let natted = || Path::of(3).hop(Hop::at(2).natted());
    for protocol in ["icmp", "udp", "tcp"] {
        let line = format!("trace -n -p {protocol} 10.10.0.1");
        let expected = "1 10.9.1.1; 2 10.9.2.1; 3 10.9.3.1 [NAT: our packets come from 198.51.100.1 \
                        here]; 4 10.10.0.1; reached...";
        check(natted(), Permitted::Raw, &line, expected, 0);
    }
    // Without privileges the quoted address is not to be seen, but the hop is.
    let expected = "1 10.9.1.1; 2 10.9.2.1; 3 10.9.3.1; 4 10.10.0.1; reached...";
    check(
        natted(),
        Permitted::Datagram,
        "trace -n -p udp 10.10.0.1",
        expected,
        0,
    );
}

#[test]
fn routers_that_quote_the_least_are_named() {
    if !privileged("routers_that_quote_the_least_are_named") {
        return;
    }
    let path = || Path::of(3).hop(Hop::at(2).quoting(28));
    let expected = "1 10.9.1.1; 2 10.9.2.1; 3 10.9.3.1; 4 10.10.0.1; reached...";
    for permitted in ALL {
        for protocol in ["icmp", "udp", "tcp"] {
            let line = format!("trace -n -p {protocol} 10.10.0.1");
            check(path(), permitted, &line, expected, 0);
        }
    }
}

#[test]
fn all_branches_are_found_and_how_they_are_chosen() {
    if !privileged("all_branches_are_found_and_how_they_are_chosen") {
        return;
    }
    let parallel = || Hop::at(2).also("10.9.22.1").also("10.9.222.1");
    for permitted in ALL {
        let path = Path::of(3).hop(parallel());
        let expected = "1 10.9.1.1; 2 ┬ 10.9.2.1 ... of 16 flows (chosen by flow); \
                        ├ 10.9.22.1 ... flows; └ 10.9.222.1 ... flows; 3 10.9.3.1; 4 10.10.0.1; \
                        3 ways; with 95% confidence...";
        check(path, permitted, "trace -n --paths 10.10.0.1", expected, 0);
        let path = Path::of(3).hop(parallel().per_packet());
        let expected = "1 10.9.1.1; 2 ┬ ...(chosen by packet); ...";
        check(path, permitted, "trace -n --paths 10.10.0.1", expected, 0);
    }
}

#[test]
fn the_mtu_of_each_hop() {
    if !privileged("the_mtu_of_each_hop") {
        return;
    }
    for permitted in ALL {
        let path = Path::of(4)
            .hop(Hop::at(2).mtu(1400))
            .hop(Hop::at(4).mtu(1300).black_hole());
        let expected = "1 10.9.1.1 F=1500; 2 10.9.2.1 F=1500; 3 10.9.3.1 F=1400; \
                        4 10.9.4.1 F=1400; 5 10.10.0.1 F=1300; reached 10.10.0.1 in 5 hops; \
                        path MTU 1300: hop 4 (10.9.4.1) passes on no more than 1300 octets and \
                        drops larger packets without a word: a black hole";
        check(path, permitted, "trace -n --mtu 10.10.0.1", expected, 0);
    }
}

#[test]
fn a_live_table_ends_with_its_last_state() {
    if !privileged("a_live_table_ends_with_its_last_state") {
        return;
    }
    let path = Path::of(2).hop(Hop::at(1).limited(2));
    let ran = run(
        path,
        Permitted::Raw,
        "trace -n --live -c 4 -i 0.1 10.10.0.1",
    );
    let expected = "    10.10.0.1 (10.10.0.1)  Loss%  Snt   Last    Avg   Best   Wrst  StDev\n \
                    1. 10.9.1.1                0.0%    4 ...  answers 50%\n \
                    2. 10.9.2.1                0.0%    4 ...\n \
                    3. 10.10.0.1               0.0%    4 ...\n";
    assert!(
        matches(expected, &ran.stdout) && ran.status == 0,
        "{ran:#?}"
    );
}

#[test]
fn what_changed_since_a_saved_trace() {
    if !privileged("what_changed_since_a_saved_trace") {
        return;
    }
    let place = place();
    let file = place.path().join("saved").display().to_string();
    let ran = run(
        Path::of(2),
        Permitted::Raw,
        &format!("trace -n --save {file} 10.10.0.1"),
    );
    assert_eq!(ran.status, 0, "{ran:#?}");
    // How long it took then says nothing of how busy this machine is now.
    let mut saved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("it is saved")).expect("JSON");
    for hop in saved["hops"].as_array_mut().expect("hops") {
        assert!(hop["best_ms"].take().is_f64(), "{hop}");
    }
    place.write("saved", saved.to_string());
    let line = format!("trace -n --diff {file} 10.10.0.1");
    let expected = "...; the same path as on ...";
    check(Path::of(2), Permitted::Raw, &line, expected, 0);
    let expected = "...; changed since ...:; hop 3: 10.10.0.1 then, 10.9.3.1 now; \
                    hop 4: 10.10.0.1 is new";
    check(Path::of(3), Permitted::Raw, &line, expected, 1);
}

#[test]
fn json_has_the_same_facts() {
    if !privileged("json_has_the_same_facts") {
        return;
    }
    let ran = run(
        Path::of(1),
        Permitted::Raw,
        "trace --json -n -q 1 -p udp 10.10.0.1",
    );
    let events: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let names: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert_eq!(names, ["start", "hop", "hop", "end"]);
    assert_eq!(events[1]["replies"][0]["from"], "10.9.1.1");
    assert_eq!(
        (&events[3]["reached"], &events[3]["packets_lost"]),
        (&true.into(), &0.into())
    );
    assert!(
        ran.sent.iter().all(|packet| packet.protocol == UDP),
        "{ran:#?}"
    );
}

#[test]
fn wrong_input_is_one_clear_line() {
    let cases = [
        (
            "trace -c 1 ::1",
            "...required arguments were not provided...--live...\n",
            2,
        ),
        ("trace -f 9 -m 3 ::1", "trace: -f 9 is behind -m 3\n", 2),
        (
            "trace --paths -p tcp ::1",
            "trace: --paths varies what routers choose...\n",
            2,
        ),
        (
            "trace --diff nosuch ::1",
            "trace: cannot compare with 'nosuch': No such file...\n",
            2,
        ),
        (
            "trace --port 80 ::1",
            "trace: ICMP has no ports; take -p udp or -p tcp with --port\n",
            2,
        ),
        (
            "trace nosuch.invalid",
            "trace: cannot resolve 'nosuch.invalid': ...\n",
            69,
        ),
        (
            "trace -6 127.0.0.1",
            "trace: cannot resolve '127.0.0.1': it has no IPv6 ...\n",
            69,
        ),
    ];
    for (line, stderr, status) in cases {
        let ran = place().run(&["-c", line]);
        let fits = matches(stderr, &ran.stderr) && ran.status == status;
        assert!(fits && ran.stdout.is_empty(), "{line}: {ran:#?}");
    }
}
