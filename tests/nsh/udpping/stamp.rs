//! STAMP (RFC 8762, RFC 8972) and TWAMP Light, octet by octet in both directions.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::Ipv4RecvTtl;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use serde_json::json;

use super::{answer_so_far, ask, connect, keyed, listen, listen_in, ping};
use crate::support::{matches, place};

/// RFC 5905 section 6: seconds since 1900 and a fraction.
fn ntp(nanoseconds_since_1970: u128) -> [u8; 8] {
    let seconds = nanoseconds_since_1970 / 1_000_000_000 + 2_208_988_800;
    let fraction = ((nanoseconds_since_1970 % 1_000_000_000) << 32) / 1_000_000_000;
    ((seconds as u64) << 32 | fraction as u64).to_be_bytes()
}

fn nanoseconds(ntp: &[u8]) -> u128 {
    let field = u64::from_be_bytes(ntp.try_into().expect("8 octets"));
    let seconds = u128::from((field >> 32) - 2_208_988_800);
    let fraction = u128::from(field & 0xffff_ffff) * 1_000_000_000;
    seconds * 1_000_000_000 + (fraction >> 32)
}

/// RFC 8762 section 4.3.1: the reflector's sequence number, its clock and the request.
fn reply(number: u32, received: [u8; 8], sent: [u8; 8], request: &[u8]) -> Vec<u8> {
    let mut reply = Vec::new();
    reply.extend(number.to_be_bytes());
    reply.extend(sent);
    reply.extend([0x81, 0x01]);
    reply.extend(&request[14..16]);
    reply.extend(received);
    reply.extend(&request[..14]);
    reply.extend([0, 0, 64, 0, 0, 0]);
    reply.extend(request.get(44..).unwrap_or_default());
    reply
}

/// What a reflector that counts and has a right clock answers.
fn honest(number: u32, request: &[u8]) -> Vec<u8> {
    let sent = request[4..12].try_into().expect("8 octets");
    reply(number, sent, sent, request)
}

#[test]
fn what_a_sender_sends() {
    let pinged = ping("--stamp -c 3 -i 5ms", &mut |peer, from, request| {
        let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
        peer.send_to(&honest(number, request), from)
            .expect("loopback");
    });
    let ssid = &pinged.heard[0][14..16];
    assert_ne!(ssid, [0, 0]);
    for (request, number) in pinged.heard.iter().zip(0_u32..) {
        assert_eq!(request.len(), 44);
        assert_eq!(request[..4], number.to_be_bytes());
        let sent = nanoseconds(&request[4..12]);
        assert!(sent.abs_diff(super::wall().as_nanos()) < 60_000_000_000);
        // RFC 4656 section 4.1.2: NTP's format, and the multiplier is not zero.
        assert!(request[12] & 0x40 == 0 && request[13] != 0, "{request:?}");
        assert_eq!(&request[14..16], ssid);
        assert_eq!(request[16..], [0; 28]);
    }
    assert_eq!(pinged.numbers("reply"), [0, 1, 2]);
    assert!(pinged.named("reply")[0]["request"] == "STAMP 0");
    pinged.check(json!({ "received": 3, "lost": 0, "strangers": 0, "stray": 0 }));
    let padded = ping("--stamp -s 100 -c 1 -t 1ms", &mut |_, _, _| ());
    assert_eq!(padded.heard[0][44..], [0; 56]);
}

/// RFC 8762 section 4: requests leave with a TTL of 255, so that the routers can be counted.
#[test]
fn requests_leave_with_a_ttl_of_255_and_the_class_that_is_asked_for() {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    peer.set_read_timeout(Some(super::PATIENCE))
        .expect("a socket");
    setsockopt(&peer, Ipv4RecvTtl, &true).expect("a socket");
    setsockopt(&peer, nix::sys::socket::sockopt::IpRecvTos, &true).expect("a socket");
    let address = peer.local_addr().expect("an address");
    for (options, ttl, class) in [
        ("--stamp --dscp EF", 255, 46 << 2),
        ("--stamp", 255, 0),
        ("--dscp AF41", 64, 34 << 2),
        ("--dscp 63", 64, 63 << 2),
        ("--heartbeat --dscp le", 64, 1 << 2),
    ] {
        let line = format!("udpping {options} -c 1 {address}");
        let nsh = place().start(&["-c", &line]);
        let mut control = nix::cmsg_space!(i32, u8);
        let (fd, flags) = (peer.as_raw_fd(), MsgFlags::empty());
        let request = recvmsg::<()>(fd, &mut [], Some(&mut control), flags).expect("a request");
        let told: Vec<ControlMessageOwned> = request.cmsgs().expect("control").collect();
        assert!(
            told.contains(&ControlMessageOwned::Ipv4Ttl(ttl)),
            "{options}: {told:?}"
        );
        assert!(
            told.contains(&ControlMessageOwned::Ipv4Tos(class)),
            "{options}: {told:?}"
        );
        nsh.signal(nix::sys::signal::Signal::SIGKILL);
        drop(nsh);
        while answer_so_far(&peer).is_some() {}
    }
}

/// A test packet as other people's senders send it.
pub fn request(number: u32, ssid: u16) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(number.to_be_bytes());
    request.extend(ntp(1_700_000_000_500_000_000));
    request.extend([0xbf, 0x84]);
    request.extend(ssid.to_be_bytes());
    request.resize(44, 0);
    request
}

#[test]
fn what_a_reflector_answers() {
    let reflector = listen("--reflector");
    let client = connect(reflector.address);
    client.set_ttl(77).expect("a socket");
    let question = request(7, 0x1234);
    let answer = ask(&client, &question);
    assert_eq!(answer.len(), 44);
    assert_eq!(answer[..4], [0, 0, 0, 0], "the first of this session");
    let [sent, received] = [nanoseconds(&answer[4..12]), nanoseconds(&answer[16..24])];
    assert!(received <= sent && sent - received < 60_000_000_000);
    assert!(sent.abs_diff(super::wall().as_nanos()) < 60_000_000_000);
    assert!(answer[12] & 0x40 == 0 && answer[13] != 0, "{answer:?}");
    assert_eq!(answer[14..16], [0x12, 0x34]);
    assert_eq!(answer[24..38], question[..14]);
    assert_eq!(answer[38..44], [0, 0, 77, 0, 0, 0]);
}

/// RFC 8972 section 4: TLVs come back with the U flag, padding as it was.
#[test]
fn what_follows_the_packet_comes_back() {
    let reflector = listen("--reflector");
    let client = connect(reflector.address);
    for (sent, returned) in [
        (
            &[0, 1, 0, 4, 1, 2, 3, 4][..],
            &[0x80, 1, 0, 4, 1, 2, 3, 4][..],
        ),
        (
            &[0x60, 4, 0, 0, 0, 8, 0, 1, 9],
            &[0x80, 4, 0, 0, 0x80, 8, 0, 1, 9],
        ),
        (&[0; 56], &[0; 56]),
        (&[0x5a, 0x17, 0xc3], &[0x5a, 0x17, 0xc3]),
        (&[0, 1, 0xff, 0xff, 1], &[0, 1, 0xff, 0xff, 1]),
    ] {
        let question = [&request(1, 1), sent].concat();
        assert_eq!(ask(&client, &question)[44..], *returned);
    }
    let long = [request(1, 1), vec![7; 60_000]].concat();
    assert_eq!(ask(&client, &long).len(), long.len());
}

/// RFC 8762 section 4.3: a stateful reflector counts by itself, for each session.
#[test]
fn sessions_are_counted_apart() {
    let reflector = listen("--reflector");
    let [one, other] = [connect(reflector.address), connect(reflector.address)];
    let counted = |client: &UdpSocket, number: u32, ssid: u16| {
        let answer = ask(client, &request(number, ssid));
        assert_eq!(answer[24..28], number.to_be_bytes());
        u32::from_be_bytes(answer[..4].try_into().expect("4 octets"))
    };
    assert_eq!(
        [
            counted(&one, 0, 5),
            counted(&one, 9, 5),
            counted(&one, 9, 5)
        ],
        [0, 1, 2]
    );
    assert_eq!([counted(&other, 3, 5), counted(&one, 3, 6)], [0, 0]);
    assert_eq!([counted(&one, 10, 5), counted(&other, 4, 5)], [3, 1]);
}

/// Senders of TWAMP Light send 14 octets, and this machine's get the 44 of a reply.
#[test]
fn short_requests() {
    let reflector = listen("--reflector");
    let client = connect(reflector.address);
    let question = request(3, 0);
    let answer = ask(&client, &question[..14]);
    assert_eq!((answer.len(), &answer[14..16]), (44, &[0, 0][..]));
    assert_eq!(answer[24..38], question[..14]);
    for octets in [0, 1, 4, 13] {
        client.send(&question[..octets]).expect("loopback");
    }
    assert_eq!(ask(&client, &question)[..4], [0, 0, 0, 1]);
    assert_eq!(answer_so_far(&client), None);
    assert_eq!(reflector.stop_and_count()["not_understood"], 4);
}

/// What the reflector has lost on the way there it has not counted.
#[test]
fn a_stateful_reflector_tells_who_lost_what() {
    let mut count = 0;
    let pinged = ping("--stamp -c 8 -i 2ms -t 2s", &mut |peer, from, request| {
        let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
        if [1, 4, 5].contains(&number) {
            return;
        }
        count += 1;
        if number != 2 {
            let reply = honest(count - 1, request);
            peer.send_to(&reply, from).expect("loopback");
        }
    });
    assert_eq!(pinged.numbers("reply"), [0, 3, 6, 7]);
    pinged.check(json!({ "lost": 4 }));
    let directions = &pinged.statistics()["directions"];
    assert_eq!(directions["requests_lost"], 3, "{directions}");
    assert_eq!(directions["replies_lost"], 1, "{directions}");
    // Between 0 and 3 one of each was lost, and nobody knows which.
    assert_eq!(directions["requests"], json!([4, 5]), "{directions}");
}

#[test]
fn other_peoples_reflectors() {
    // TWAMP Light's replies may end behind the sender's fields, and know no session.
    let pinged = ping("--stamp -c 3 -i 5ms", &mut |peer, from, request| {
        let mut short = honest(0, request);
        short.truncate(38);
        short[14..16].fill(0);
        short[..4].copy_from_slice(&request[..4]);
        peer.send_to(&short, from).expect("loopback");
    });
    pinged.check(json!({ "received": 3, "routers_there": null, "strangers": 0 }));
    // Of another session, cut, or no STAMP at all.
    let pinged = ping("--stamp -c 3 -i 5ms -t 1s", &mut |peer, from, request| {
        let mut other = honest(0, request);
        other[14] ^= 0x55;
        let whole = honest(0, request);
        for answer in [&other[..], &whole[..37], b"pong", b""] {
            peer.send_to(answer, from).expect("loopback");
        }
    });
    pinged.check(json!({ "received": 0, "strangers": 12, "lost": 3 }));
    // Stateless, with losses: who lost them is not known, and not said.
    let pinged = ping("--stamp -c 30 -i 1ms -t 2s", &mut |peer, from, request| {
        let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
        if number % 3 != 1 {
            peer.send_to(&honest(number, request), from)
                .expect("loopback");
        }
    });
    pinged.check(json!({ "received": 20, "directions": null }));
}

/// A number that was never sent answers nothing, also where it is the one before the first.
#[test]
fn replies_to_what_was_never_sent() {
    let pinged = ping("--stamp -c 10 -i 2ms -t 2s", &mut |peer, from, request| {
        let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
        for never_sent in [u32::MAX, 1 << 31, 5000] {
            let mut other = honest(900, request);
            other[24..28].copy_from_slice(&never_sent.to_be_bytes());
            peer.send_to(&other, from).expect("loopback");
        }
        if number != 9 {
            peer.send_to(&honest(number, request), from)
                .expect("loopback");
        }
    });
    // The count of those after the last request may not have been heard.
    pinged.check(json!({ "received": 9, "lost": 1, "duplicates": 0, "stray": 30 }));
    let directions = &pinged.statistics()["directions"];
    assert_eq!(
        (&directions["requests_lost"], &directions["undecided"]),
        (&json!(0), &json!(1))
    );
}

/// A clock that is 37 ms ahead and 50 ppm fast: what is said of it is true.
#[test]
fn the_clock_of_a_reflector_is_measured() {
    let first = super::wall();
    let clock = |wall: std::time::Duration| {
        let elapsed = (wall - first).as_nanos();
        wall.as_nanos() + 37_000_000 + elapsed * 50 / 1_000_000
    };
    let pinged = ping("--stamp -q -c 300 -i 3ms", &mut |peer, from, request| {
        let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
        let received = ntp(clock(super::wall()));
        let reply = reply(number, received, ntp(clock(super::wall())), request);
        peer.send_to(&reply, from).expect("loopback");
    });
    let now = super::wall();
    let ahead_ms = (clock(now) - now.as_nanos()) as f64 / 1e6;
    pinged.check(json!({ "received": 300, "lost": 0 }));
    let clock = &pinged.statistics()["clock"];
    let figure = |name: &str| clock[name].as_f64().expect("a figure");
    let off = (figure("offset_ms") - ahead_ms).abs();
    // The clock has gone on since, but by no more than that.
    assert!(off <= figure("bound_ms") + 0.005, "{ahead_ms} {clock}");
    assert_eq!(clock["steps"], 0, "{clock}");
}

/// Set forwards by an hour in the middle of a run, and once between arrival and departure.
#[test]
fn a_clock_that_is_set_changes_no_round_trip_and_no_loss() {
    const HOUR: u128 = 3_600_000_000_000;
    for set_between in [false, true] {
        let pinged = ping("--stamp -q -c 200 -i 1ms", &mut |peer, from, request| {
            let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
            let is_later = |at: u32| number > at || number == at && !set_between;
            let hours = |is_set: bool| if is_set { HOUR } else { 0 };
            let received = super::wall().as_nanos() + hours(is_later(100));
            let left = super::wall().as_nanos() + hours(number >= 100);
            let reply = reply(number, ntp(received), ntp(left), request);
            peer.send_to(&reply, from).expect("loopback");
        });
        pinged.check(json!({ "received": 200, "lost": 0, "late": 0 }));
        let statistics = pinged.statistics();
        let rtt = |name: &str| statistics[name].as_f64().expect("an RTT");
        assert!(
            rtt("min_ms") >= 0.0 && rtt("max_ms") < 1000.0,
            "{statistics:#}"
        );
        let clock = &statistics["clock"];
        assert_eq!(clock["steps"], 1, "{set_between} {clock}");
        let step = clock["last_step_ms"].as_f64().expect("a step");
        assert!((step - 3_600_000.0).abs() < 1000.0, "{clock}");
        for way in ["there", "back"] {
            let most = statistics["one_way"][way]["max_ms"]
                .as_f64()
                .expect("a delay");
            assert!(most.abs() < 1000.0, "{set_between} {statistics:#}");
        }
    }
}

/// PTP's format of timestamps (RFC 8186), which a reflector may choose.
#[test]
fn a_reflector_with_ptp_timestamps() {
    let pinged = ping("--stamp -q -c 20 -i 1ms", &mut |peer, from, request| {
        let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
        let now = super::wall();
        let ptp = now.as_secs() << 32 | u64::from(now.subsec_nanos());
        let stamp = ptp.to_be_bytes();
        let mut reply = reply(number, stamp, stamp, request);
        reply[12] |= 0x40;
        peer.send_to(&reply, from).expect("loopback");
    });
    pinged.check(json!({ "received": 20 }));
    let clock = &pinged.statistics()["clock"];
    let figure = |name: &str| clock[name].as_f64().expect("a figure");
    assert!(
        figure("offset_ms").abs() <= figure("bound_ms") + 0.001,
        "{clock}"
    );
}

#[test]
fn both_sides_are_ours() {
    let place = keyed();
    for key in ["", "--key-file key"] {
        let reflector = listen_in(&place, &format!("--reflector {key}"));
        let line = format!(
            "udpping --stamp {key} -c 5 -i 2ms -s 200 {}",
            reflector.address
        );
        let ran = place.run(&["-c", &line]);
        let shape = "UDPPING ... datagrams of 200 octets, one each 2 ms...\nSTAMP 0: reply from \
                     ..., RTT ... ms\n...\n5 sent, 5 received, 0 lost (0%)\n...\nthere min/p50...\n\
                     back  min/p50...\nits clock is ...ours...within ... ms\n...";
        assert!(matches(shape, &ran.stdout) && ran.status == 0, "{ran:#?}");
        // On this machine are no routers.
        assert!(!ran.stdout.contains("router"), "{ran:#?}");
        assert_eq!(reflector.stop_and_count()["answered"], 5);
    }
}
