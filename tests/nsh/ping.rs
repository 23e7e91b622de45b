//! `ping`, on loopback and in front of simulated routers. Each test makes a network namespace of
//! its own, so that nothing of the machine's settings matters; that needs root.

use std::io::{BufRead, BufReader};

use super::routers::{Hop, ICMP, Packet, Path, Permitted, Ran as Routed, Target};
use super::support::{Ran, matches, place, privileged};
use nix::sys::signal::Signal;

/// Runs a line in a fresh namespace, after `setup` (sh), as root or as nobody.
fn run_alone(setup: &str, user: &str, line: &str) -> Ran {
    let place = place();
    let nsh = env!("CARGO_BIN_EXE_nsh");
    // The program may lie where nobody may not look.
    std::fs::copy(nsh, place.path().join("nsh")).expect("room on the disk");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).expect("own folder");
    let become_user = match user {
        "root" => "",
        _ => "setpriv --reuid 65534 --regid 65534 --clear-groups ",
    };
    let path = place.path().join("nsh").display().to_string();
    place.write("line", line);
    let script = format!("ip link set lo up && {setup} {become_user}{path} -c \"$(cat line)\"");
    let output = std::process::Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .current_dir(place.path())
        .output()
        .expect("unshare of util-linux");
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("UTF-8 output");
    Ran {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        status: output.status.code().expect("an exit, no signal"),
    }
}

const PERMIT_DATAGRAMS: &str = "sysctl -qw net.ipv4.ping_group_range='0 2147483647' &&";

#[track_caller]
fn check(ran: &Ran, stdout: &str, stderr: &str, status: i32) {
    let fits = matches(stdout, &ran.stdout) && matches(stderr, &ran.stderr);
    assert!(fits && ran.status == status, "{ran:#?}");
}

#[test]
fn both_families_with_and_without_privileges() {
    if !privileged("both_families_with_and_without_privileges") {
        return;
    }
    for (setup, user) in [
        ("", "root"),
        (PERMIT_DATAGRAMS, "root"),
        (PERMIT_DATAGRAMS, "nobody"),
    ] {
        let ran = run_alone(setup, user, "ping -c 2 -i 0.01 127.0.0.1");
        let v4 = "PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.\n\
                  64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=... ms\n\
                  64 bytes from 127.0.0.1: icmp_seq=2 ttl=64 time=... ms\n\n\
                  --- 127.0.0.1 ping statistics ---\n\
                  2 packets transmitted, 2 received, 0% packet loss, time ...ms\n\
                  rtt min/avg/max/mdev = .../.../.../... ms\n\
                  p50/p90/p99 = .../.../... ms, jitter ... ms\n\
                  last 2: ...\n\
                  every request was answered\n";
        check(&ran, v4, "", 0);
        let ran = run_alone(setup, user, "ping -6 -c 1 -s 0 ::1");
        let v6 =
            "PING ::1 (::1) 0 data bytes\n8 bytes from ::1: icmp_seq=1 ttl=64 time=... ms\n...";
        check(&ran, v6, "", 0);
        let ran = run_alone(setup, user, "timeout 2 ping -i 0.01 127.0.0.1");
        let stdout = "PING ...\n--- 127.0.0.1 ping statistics ---\n...rtt min/avg/max/mdev = ...";
        check(&ran, stdout, "timeout: ping did not end in time\n", 124);
        for any in ["0.0.0.0", "::"] {
            let ran = run_alone(setup, user, &format!("ping -c 1 {any}"));
            check(&ran, "...1 received, 0% packet loss...", "", 0);
        }
        let ran = run_alone(setup, user, "ping -c 1 -s 65507 127.0.0.1");
        check(&ran, "...65515 bytes from 127.0.0.1: icmp_seq=1...", "", 0);
    }
}

#[test]
fn without_permission_it_says_what_would_permit_it() {
    if !privileged("without_permission_it_says_what_would_permit_it") {
        return;
    }
    let ran = run_alone("", "nobody", "ping -c 1 127.0.0.1");
    let stderr = "ping: sending ICMP is not permitted to this user; one of these commands permits \
                  it:\n  sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'\n  \
                  sudo setcap cap_net_raw+ep .../nsh\n";
    check(&ran, "", stderr, 77);
}

#[test]
fn errors_are_shown_as_they_arrive() {
    if !privileged("errors_are_shown_as_they_arrive") {
        return;
    }
    let prohibit = "ip route add prohibit 192.0.2.0/24 && ip -6 route add unreachable fd00::/8 &&";
    let lost = "1 packets transmitted, 0 received, +1 errors, 100% packet loss, time ...ms\n...";
    for setup in ["", PERMIT_DATAGRAMS] {
        let ran = run_alone(
            &format!("{setup} {prohibit}"),
            "root",
            "ping -c 1 192.0.2.1",
        );
        check(&ran, &format!("...{lost}"), "", 69);
        let ran = run_alone(&format!("{setup} {prohibit}"), "root", "ping -c 1 fd00::1");
        check(&ran, &format!("...{lost}"), "", 69);
    }
    let silent = "ip addr add 192.0.2.1/24 dev lo && ip route add blackhole 198.51.100.0/24 &&";
    let ran = run_alone(silent, "root", "ping -c 1 -t 10ms 198.51.100.1");
    check(
        &ran,
        "...1 packets transmitted, 0 received...100% packet loss...",
        "",
        69,
    );
}

/// A router's word about a request, which a second namespace plays.
#[test]
fn a_router_that_refuses_is_named() {
    if !privileged("a_router_that_refuses_is_named") {
        return;
    }
    let router = "{ unshare --net sleep 60 & } && router=$! && trap 'kill $router' EXIT && \
        until [ \"$(readlink /proc/$router/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do :; \
        done && ip link add near type veth peer name far netns $router && \
        ip addr add 10.9.9.1/24 dev near && ip link set near up && \
        nsenter --net=/proc/$router/ns/net sh -c 'ip addr add 10.9.9.2/24 dev far && \
            ip link set far up && sysctl -qw net.ipv4.ip_forward=1 && \
            ip route add unreachable 192.0.2.0/24 && ip route add prohibit 198.51.100.0/24' && \
        ip route add default via 10.9.9.2 &&";
    for permission in ["", PERMIT_DATAGRAMS] {
        let setup = format!("{router} {permission}");
        let run = |line: &str| run_alone(&setup, "root", line);
        let line = "From 10.9.9.2 icmp_seq=1 Destination Host Unreachable\n";
        check(
            &run("ping -c 1 192.0.2.1"),
            &format!("...\n{line}..."),
            "",
            1,
        );
        let line = "From 10.9.9.2 icmp_seq=1 Packet filtered\n";
        check(
            &run("ping -c 1 198.51.100.1"),
            &format!("...\n{line}..."),
            "",
            1,
        );
    }
}

#[test]
fn a_name_that_does_not_resolve() {
    let ran = place().run(&["-c", "ping -c 1 nosuch.invalid"]);
    check(&ran, "", "ping: cannot resolve 'nosuch.invalid': ...\n", 69);
    let ran = place().run(&["-c", "ping -6 -c 1 127.0.0.1"]);
    let stderr = "ping: cannot resolve '127.0.0.1': it has no IPv6 address; leave out -6\n";
    check(&ran, "", stderr, 69);
}

/// The JSON events with this name.
fn events(stdout: &str, name: &str) -> Vec<serde_json::Value> {
    let events = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    events
        .filter(|event: &serde_json::Value| event["event"] == name)
        .collect()
}

fn run_routed(path: Path, permitted: Permitted, line: &str) -> Routed {
    path.run(permitted, env!("CARGO_BIN_EXE_nsh"), &["-c", line])
}

/// The lines between the first and the statistics, the counts, and the verdict.
#[track_caller]
fn check_routed(path: Path, permitted: Permitted, line: &str, expected: [&str; 3]) {
    let ran = run_routed(path, permitted, line);
    let (lines, rest) = ran.stdout.split_once("\n\n---").expect("statistics");
    let lines = lines.split_once('\n').map_or("", |(_, lines)| lines);
    let counts = rest.lines().nth(1).unwrap_or_default();
    let verdict = rest.lines().last().unwrap_or_default();
    let fits = matches(expected[0], lines) && matches(expected[1], counts);
    assert!(
        fits && matches(expected[2], verdict),
        "{permitted:?} {ran:#?}"
    );
}

const BOTH: [Permitted; 2] = [Permitted::Raw, Permitted::Datagram];

#[test]
fn what_the_routers_say_is_told_and_counted() {
    if !privileged("what_the_routers_say_is_told_and_counted") {
        return;
    }
    let lost = "1 packets transmitted, 0 received, +1 errors, 100% packet loss, time ...ms";
    for permitted in BOTH {
        let path = || Path::of(2).hop(Hop::at(2).unreachable(0));
        let line = "From 10.9.2.1 icmp_seq=1 Destination Net Unreachable";
        let verdict = "no route: answered by gateway 10.9.2.1";
        check_routed(
            path(),
            permitted,
            "ping -c 1 10.10.0.1",
            [line, lost, verdict],
        );
        let path = || Path::of(2).hop(Hop::at(1).unreachable(1));
        let line = "From fd09:1::1 icmp_seq=1 Destination unreachable: Administratively prohibited";
        let verdict = "filtered: fd09:1::1 forbids it";
        check_routed(
            path(),
            permitted,
            "ping -c 1 fd10::1",
            [line, lost, verdict],
        );
        let line = "From 10.9.2.1 icmp_seq=1 Time to live exceeded";
        let verdict = "too far, or a loop: the hop limit ran out at 10.9.2.1; \
                       'trace 10.10.0.1' shows where";
        check_routed(
            Path::of(3),
            permitted,
            "ping -c 1 --ttl 2 10.10.0.1",
            [line, lost, verdict],
        );
        let path = Path::of(3).hop(Hop::at(2).mtu(1400));
        let line = "From 10.9.2.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)";
        let verdict = "too large for the path: 10.9.2.1 passes on 1400 octets; '--mtu' measures it";
        let command = "ping -c 1 -s 1400 --df do 10.10.0.1";
        check_routed(path, permitted, command, [line, lost, verdict]);
    }
}

type Lie = fn(Packet) -> Vec<Vec<u8>>;

/// Changes an honest reply, and gives what is sent instead of it.
fn lying(lie: Lie) -> Path {
    let answers = move |request: &Packet| request.echo_reply(60).map_or(Vec::new(), lie);
    Path::of(2).target(Target::default().answering(answers))
}

#[test]
fn only_true_answers_count() {
    if !privileged("only_true_answers_count") {
        return;
    }
    let none = "1 packets transmitted, 0 received...100% packet loss...";
    let command = "ping -c 1 -t 2 10.10.0.1";
    let foreign = |mut reply: Packet| {
        reply.set_source("10.10.0.9".parse().expect("an address"));
        vec![reply.octets]
    };
    let changed = |mut reply: Packet| {
        *reply.octets.last_mut().expect("octets") ^= 1;
        reply.set_checksums();
        vec![reply.octets]
    };
    let truncated = |reply: Packet| {
        let message = &reply.transport()[..20];
        let (from, to) = (reply.source, reply.destination);
        vec![Packet::emit(from, to, 60, ICMP, message).octets]
    };
    let unsent = |mut reply: Packet| {
        let sequence_number = 20 + 6;
        reply.octets[sequence_number + 1] = 8;
        reply.set_checksums();
        vec![reply.octets]
    };
    let forged = |mut reply: Packet| {
        let cookie = 20 + 8;
        reply.octets[cookie] ^= 1;
        reply.set_checksums();
        vec![reply.octets]
    };
    let lies: [(Lie, &str, &str); 5] = [
        (
            foreign,
            "64 bytes from 10.10.0.9: icmp_seq=1 (DIFFERENT ADDRESS!), not counted",
            "answers came from another address: 10.10.0.9",
        ),
        (
            changed,
            "64 bytes from 10.10.0.1: icmp_seq=1 (wrong data byte #55 should be 0x37 but was \
             0x36), not counted",
            "all that 10.10.0.1 sent was wrong: wrong data byte...",
        ),
        (
            truncated,
            "20 bytes from 10.10.0.1: icmp_seq=1 (truncated), not counted",
            "all that 10.10.0.1 sent was wrong: truncated",
        ),
        (
            unsent,
            "64 bytes from 10.10.0.1: icmp_seq=8 (never sent), not counted",
            "all that 10.10.0.1 sent was wrong: never sent",
        ),
        (
            forged,
            "64 bytes from 10.10.0.1: icmp_seq=1 (not what was sent), not counted",
            "all that 10.10.0.1 sent was wrong: not what was sent",
        ),
    ];
    // Each is waited out.
    std::thread::scope(|scope| {
        for (lie, line, verdict) in lies {
            for permitted in BOTH {
                let expected = [line, none, verdict];
                scope.spawn(move || check_routed(lying(lie), permitted, command, expected));
            }
        }
    });
    // The kernel lets only raw sockets see a wrong checksum.
    let corrupt = lying(|mut reply| {
        *reply.octets.last_mut().expect("octets") ^= 1;
        vec![reply.octets]
    });
    let line = "64 bytes from 10.10.0.1: icmp_seq=1 (BAD CHECKSUM!), not counted";
    let verdict = "all that 10.10.0.1 sent was wrong: BAD CHECKSUM!";
    check_routed(corrupt, Permitted::Raw, command, [line, none, verdict]);
}

#[test]
fn duplicates_are_told_and_counted_apart() {
    if !privileged("duplicates_are_told_and_counted_apart") {
        return;
    }
    for permitted in BOTH {
        let twice = lying(|reply| vec![reply.octets.clone(), reply.octets]);
        let lines = "64 bytes from fd10::1: icmp_seq=1 ttl=60 time=... ms\n\
                     64 bytes from fd10::1: icmp_seq=1 ttl=60 time=... ms (DUP!)\n...";
        let counts = "2 packets transmitted, 2 received, ...duplicates, 0% packet loss, time ...ms";
        let verdict = "answered more than once: two hosts with one address, or a loop on the way";
        let command = "ping -c 2 -i 0.01 fd10::1";
        check_routed(twice, permitted, command, [lines, counts, verdict]);
    }
}

#[test]
fn losses_are_measured_and_judged() {
    if !privileged("losses_are_measured_and_judged") {
        return;
    }
    let bursts = |n: u64| n % 10 < 4;
    let path = Path::of(1).target(Target::default().loses(bursts));
    let line = "ping --json -c 40 -i 0.005 -t 3 10.10.0.1";
    let ran = run_routed(path, Permitted::Raw, line);
    let statistics = &events(&ran.stdout, "statistics")[0];
    let expected = serde_json::json!({
        "transmitted": 40, "received": 24, "loss_percent": 40.0, "loss_runs": 5,
        "loss_run_longest": 4, "verdict": "loss 40%, bursts of 3: not random",
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&statistics[name], value, "{name}: {ran:#?}");
    }
}

#[test]
fn many_hosts_have_a_table() {
    if !privileged("many_hosts_have_a_table") {
        return;
    }
    for permitted in BOTH {
        let command = "ping -c 2 -i 0.01 -t 3 10.10.0.1 fd10::2 10.9.1.1 10.10.0.1";
        let ran = run_routed(Path::of(2).hop(Hop::at(1).silent()), permitted, command);
        let table = ran.stdout.split_once("\n\n").expect("a table").1;
        let expected = "host        sent    loss      min      avg      p90      max   jitter  last\n\
                        10.10.0.1      2    0.0%  ...\n\
                        fd10::2        2    0.0%  ...\n\
                        10.9.1.1       2  100.0%        -        -        -        -        -  ××\n\
                        10.10.0.1      2    0.0%  ...\n\
                        10.9.1.1: no answer: 10.9.1.1 is off, or echo is filtered on the way \
                        there or back; 'trace 10.9.1.1' shows how far packets get\n";
        assert!(matches(expected, table) && ran.status == 1, "{ran:#?}");
    }
}

#[test]
fn a_range_is_searched_and_listed() {
    if !privileged("a_range_is_searched_and_listed") {
        return;
    }
    for permitted in BOTH {
        let answers = |request: &Packet| {
            let is_even = request.octets[19].is_multiple_of(2);
            let reply = request.echo_reply(60).filter(|_| is_even);
            reply.into_iter().map(|reply| reply.octets).collect()
        };
        let path = || Path::of(1).target(Target::default().answering(answers));
        let run = |options: &str| {
            let line = format!("ping {options} -t 1 10.10.0.0/30");
            run_routed(path(), permitted, &line)
        };
        assert_eq!(run("--alive").stdout, "10.10.0.0\n10.10.0.2\n");
        assert_eq!(run("--dead").stdout, "10.10.0.1\n10.10.0.3\n");
        let ran = run("");
        let expected = "PING 10.10.0.0/30: 4 addresses, 2 tries of 1000 ms.\n\
                        10.10.0.0 is alive (... ms)\n10.10.0.2 is alive (... ms)\n\n\
                        --- 10.10.0.0/30 ---\n\
                        4 addresses, 2 alive, 0 unreachable, 2 silent, 6 requests in ...\n\
                        rtt min/avg/max = .../.../... ms\n";
        assert!(
            matches(expected, &ran.stdout) && ran.status == 0,
            "{ran:#?}"
        );
        assert_eq!(ran.sent.len(), 6);
    }
}

#[test]
fn a_list_is_searched_and_names_that_are_unknown_are_told() {
    if !privileged("a_list_is_searched_and_names_that_are_unknown_are_told") {
        return;
    }
    let place = place();
    let list = "10.10.0.1 # the first\n\nfd10::7\nnosuch.invalid\n10.10.4.0/31\n";
    place.write("list", list);
    let path = place.path().join("list");
    let line = format!("ping --alive --file {}", path.display());
    let ran = run_routed(Path::of(1), Permitted::Raw, &line);
    let mut found: Vec<&str> = ran.stdout.lines().collect();
    found.sort_unstable();
    assert_eq!(found, ["10.10.0.1", "10.10.4.0", "10.10.4.1", "fd10::7"]);
    assert!(
        ran.stderr
            .starts_with("ping: cannot resolve 'nosuch.invalid'"),
        "{ran:#?}"
    );
}

#[test]
fn the_path_mtu_is_found_also_behind_a_silent_router() {
    if !privileged("the_path_mtu_is_found_also_behind_a_silent_router") {
        return;
    }
    for permitted in BOTH {
        for (host, payload) in [("10.10.0.1", 1372), ("fd10::1", 1352)] {
            let first =
                format!("path MTU to {host} ({host}) is 1400 octets: -s {payload}, 4 hops away\n");
            let path = || Path::of(3).hop(Hop::at(2).mtu(1400));
            let ran = run_routed(path(), permitted, &format!("ping --mtu {host}"));
            let rest =
                "hop 2 (...) passes on no more than 1400 octets, and ... says so when asked\n";
            assert!(matches(&format!("{first}{rest}"), &ran.stdout), "{ran:#?}");
            let path = Path::of(3).hop(Hop::at(2).mtu(1400).black_hole());
            let ran = run_routed(path, permitted, &format!("ping --mtu {host}"));
            let rest = "hop 2 (...) passes on no more than 1400 octets and drops larger packets \
                        without a word: a black hole\n";
            assert!(matches(&format!("{first}{rest}"), &ran.stdout), "{ran:#?}");
        }
    }
}

#[test]
fn a_thousand_pings_of_one_process_keep_apart() {
    if !privileged("a_thousand_pings_of_one_process_keep_apart") {
        return;
    }
    for permitted in BOTH {
        let place = place();
        let mut script = "ping -q -c 2 -i 0.5 -t 5 10.10.0.1 &\n".repeat(1000);
        script.push_str("wait all\n");
        place.write("many.nsh", script);
        let path = place.path().join("many.nsh");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.path(), open).expect("own folder");
        let nsh = env!("CARGO_BIN_EXE_nsh");
        let ran = Path::of(1).run(
            permitted,
            nsh,
            &["--keep-going", &path.display().to_string()],
        );
        let answered = ran
            .stdout
            .matches("2 packets transmitted, 2 received, 0% packet loss");
        assert_eq!(answered.count(), 1000, "{}", &ran.stdout[..2000]);
        assert!(
            !ran.stdout.contains("not counted") && ran.status == 0,
            "{}",
            ran.stderr
        );
        assert_eq!(ran.sent.len(), 2000);
    }
}

#[test]
fn a_quit_signal_asks_how_it_goes() {
    if !privileged("a_quit_signal_asks_how_it_goes") {
        return;
    }
    let mut running = place().start(&["-c", "timeout 60 ping -i 0.01 127.0.0.1"]);
    while !running.line().contains("icmp_seq=3 ") {}
    running.signal(Signal::SIGQUIT);
    let mut interim = String::new();
    let stderr = running.child.stderr.as_mut().expect("a pipe");
    BufReader::new(stderr)
        .read_line(&mut interim)
        .expect("UTF-8 output");
    let expected = ".../... packets, 0% loss, min/avg/ewma/max = .../.../.../... ms\n";
    assert!(matches(expected, &interim), "{interim:?}");
    // It goes on.
    let sent = interim.split_once('/').expect("two counts").1;
    let sent: u32 = sent
        .split_once(' ')
        .expect("two counts")
        .0
        .parse()
        .expect("a count");
    let later = format!("icmp_seq={} ", sent + 10);
    while !running.line().contains(&later) {}
    running.signal(Signal::SIGINT);
    assert_eq!(running.end().status, 130);
}

#[test]
fn options_are_on_the_wire() {
    if !privileged("options_are_on_the_wire") {
        return;
    }
    let line = "ping -c 2 -l 2 -Q 0x28 --ttl 7 -s 12 --pattern ab -I near --df do 10.10.0.1";
    let ran = run_routed(Path::of(1), Permitted::RawAndDatagram, line);
    let head =
        "PATTERN: 0xab\nPING 10.10.0.1 (10.10.0.1) from 10.9.0.2 near: 12(40) bytes of data.\n";
    assert!(ran.stdout.starts_with(head), "{ran:#?}");
    for packet in &ran.sent {
        assert_eq!(
            (packet.octets[1], packet.hop_limit, packet.dont_fragment),
            (0x28, 7, true)
        );
        assert_eq!(packet.transport()[16..], [0xab; 4], "behind the cookie");
    }
}

#[test]
fn wrong_input_is_one_clear_line() {
    let cases = [
        (
            "ping",
            "ping: whom? name a HOST, a range like 10.0.0.0/24, or a list with --file\n",
            2,
        ),
        (
            "ping 10.0.0.0/33",
            "ping: '10.0.0.0/33' is no range of addresses; ...\n",
            2,
        ),
        (
            "ping 10.0.0.0/8",
            "ping: that would ask 16777216 addresses; confirm it with --large\n",
            2,
        ),
        (
            "ping ::/0 --large",
            "ping: 18446744073709551615 addresses are too many; ...\n",
            2,
        ),
        (
            "ping -c 0 ::1",
            "...ping: invalid value '0' for '--count <N>'...\n",
            2,
        ),
        (
            "ping -s 70000 ::1",
            "...ping: invalid value '70000' for '--size <OCTETS>'...\n",
            2,
        ),
        (
            "ping --pattern xy ::1",
            "...1 to 32 hexadecimal digits, like ff00...\n",
            2,
        ),
        (
            "ping --file nosuch",
            "ping: cannot read 'nosuch': No such file or directory\n",
            2,
        ),
        (
            "ping -s 4 127.0.0.1 127.0.0.2",
            "ping: several hosts are told apart by ...\n",
            2,
        ),
        (
            "ping -s 4 127.0.0.0/30",
            "ping: a search needs 20 octets of payload; ...\n",
            2,
        ),
        (
            "ping -c 1 10.0.0.0/16",
            "ping: 65536 hosts are too many to follow one by one...\n",
            2,
        ),
    ];
    for (line, stderr, status) in cases {
        check(&place().run(&["-c", line]), "", stderr, status);
    }
}

#[test]
fn an_interface_that_is_not_there() {
    if !privileged("an_interface_that_is_not_there") {
        return;
    }
    let ran = run_alone("", "root", "ping -c 1 -I nosuch0 127.0.0.1");
    let stderr = "ping: cannot send by 'nosuch0': there is no such interface or address here; the \
                  interfaces are ...lo...\n";
    check(&ran, "", stderr, 2);
}
