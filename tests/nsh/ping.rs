//! `ping` on loopback. Each test makes a network namespace of its own, so that nothing of the
//! machine's settings matters; that needs root.

use super::support::{Ran, matches, place, privileged};

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
                  rtt min/avg/max/mdev = .../.../.../... ms\n";
        check(&ran, v4, "", 0);
        let ran = run_alone(setup, user, "ping -6 -c 1 -s 0 ::1");
        let v6 =
            "PING ::1 (::1) 0 data bytes\n8 bytes from ::1: icmp_seq=1 ttl=64 time=... ms\n...";
        check(&ran, v6, "", 0);
        let ran = run_alone(setup, user, "timeout 50ms ping -i 0.01 127.0.0.1");
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
    let lost = "1 packets transmitted, 0 received, +1 errors, 100% packet loss, time ...ms\n";
    for setup in ["", PERMIT_DATAGRAMS] {
        let ran = run_alone(
            &format!("{setup} {prohibit}"),
            "root",
            "ping -c 1 192.0.2.1",
        );
        check(&ran, &format!("...{lost}"), "", 1);
        let ran = run_alone(&format!("{setup} {prohibit}"), "root", "ping -c 1 fd00::1");
        check(&ran, &format!("...{lost}"), "", 1);
    }
    let silent = "ip addr add 192.0.2.1/24 dev lo && ip route add blackhole 198.51.100.0/24 &&";
    let ran = run_alone(silent, "root", "ping -c 1 -t 10ms 198.51.100.1");
    check(
        &ran,
        "...1 packets transmitted, 0 received...100% packet loss...",
        "",
        1,
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
