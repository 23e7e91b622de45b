//! STAMP with a key, and what a key is.

use serde_json::json;

use super::stamp::request;
use super::{KEY, answer_so_far, ask, connect, keyed, listen_in, mac, ping_in, set_mode};
use crate::support::{matches, place, run};

/// RFC 8762 section 4.2.2: with a Truncated HMAC over the first 96 octets.
fn authenticated_request(number: u32, key: &str) -> Vec<u8> {
    let short = request(number, 0x1234);
    let mut request = [&short[..4], &[0; 12], &short[4..16]].concat();
    request.resize(96, 0);
    request.extend(mac(key, &request));
    request
}

#[test]
fn an_authenticated_reflector() {
    let reflector = listen_in(&keyed(), "--reflector --key-file key");
    let client = connect(reflector.address);
    let question = authenticated_request(7, KEY);
    let answer = ask(&client, &question);
    assert_eq!(answer.len(), 112);
    assert_eq!(answer[96..], mac(KEY, &answer[..96]));
    assert_eq!(answer[..16], [0; 16]);
    assert_eq!(
        (&answer[26..28], &answer[28..32]),
        (&[0x12, 0x34][..], &[0; 4][..])
    );
    assert_eq!(answer[40..48], [0; 8]);
    assert_eq!(answer[48..64], question[..16]);
    assert_eq!(answer[64..74], question[16..26]);
    assert_eq!(answer[80], 64);
    assert_eq!(answer[81..96], [0; 15]);
    // Another key, a changed octet, a cut one, one without.
    client
        .send(&authenticated_request(8, "another key, not the right one"))
        .expect("loopback");
    let mut changed = question.clone();
    changed[3] ^= 1;
    client.send(&changed).expect("loopback");
    client.send(&question[..111]).expect("loopback");
    client.send(&request(9, 1)).expect("loopback");
    assert_eq!(
        ask(&client, &authenticated_request(10, KEY))[..4],
        [0, 0, 0, 1]
    );
    assert_eq!(answer_so_far(&client), None);
    assert_eq!(reflector.stop_and_count()["not_understood"], 4);
}

/// RFC 8762 section 4.3.2, from a request of section 4.2.2.
fn authenticated_reply(number: u32, request: &[u8], key: &str) -> Vec<u8> {
    let mut reply = [
        &number.to_be_bytes()[..],
        &[0; 12],
        &request[16..28],
        &[0; 4],
    ]
    .concat();
    reply.extend(&request[16..24]);
    reply.extend([0; 8]);
    reply.extend(&request[..26]);
    reply.extend([0; 6]);
    reply.push(64);
    reply.resize(96, 0);
    reply.extend(mac(key, &reply));
    reply
}

#[test]
fn an_authenticated_sender() {
    for (key, is_right) in [(KEY, true), ("another key, not the right one", false)] {
        let options = "--stamp --key-file key -c 3 -i 5ms -t 1s";
        let pinged = ping_in(&keyed(), options, &mut |peer, from, request| {
            assert_eq!(request.len(), 112);
            assert_eq!(request[96..], mac(KEY, &request[..96]));
            let number = u32::from_be_bytes(request[..4].try_into().expect("4 octets"));
            let reply = authenticated_reply(number, request, key);
            peer.send_to(&reply, from).expect("loopback");
        });
        assert_eq!(pinged.named("start")[0]["authenticated"], true);
        let (received, strangers) = if is_right { (3, 0) } else { (0, 3) };
        pinged.check(json!({ "received": received, "strangers": strangers }));
    }
}

/// The key file is refused with this on stderr and this status.
#[track_caller]
fn check_key(octets: impl AsRef<[u8]>, mode: u32, stderr: &str, status: i32) {
    let place = place();
    place.write("key", octets);
    set_mode(&place, "key", mode);
    for line in [
        "udpping --stamp --key-file key 127.0.0.1 -c 1",
        "udpping --reflector --key-file key -p 0",
        "udpping --heartbeat --key-file key 127.0.0.1 -c 1",
        "udpping --monitor --key-file key -p 0",
    ] {
        let ran = place.run(&["-q", "-c", line]);
        let fits = matches(stderr, &ran.stderr) && ran.stdout.is_empty();
        assert!(fits && ran.status == status, "{line}: {ran:#?}");
    }
}

#[test]
fn keys_that_are_none() {
    let others = "udpping: others may read key; 'chmod 600 key' keeps the key a secret\n";
    check_key(KEY, 0o644, others, 77);
    check_key(KEY, 0o620, others, 77);
    let short = "udpping: the key in key has 15 octets, and fewer than 16 can be guessed; ...\n";
    check_key("fifteen octets!\r\n", 0o600, short, 2);
    check_key("hex:000102030405060708090a0b0c0d0e", 0o600, short, 2);
    let digits = "udpping: key has no hexadecimal digits in pairs\n";
    check_key("hex:000102030405060708090a0b0c0d0e0f0", 0o600, digits, 2);
    check_key("hex:0x0102030405060708090a0b0c0d0e0f00", 0o600, digits, 2);
    check_key(
        [b'k'; 4097],
        0o600,
        "udpping: key is too long for a key\n",
        2,
    );
    let ran = run(&["-c", "udpping --stamp --key-file nosuch 127.0.0.1"]);
    let missing = "udpping: cannot read nosuch: No such file or directory...\n";
    assert!(matches(missing, &ran.stderr) && ran.status == 2, "{ran:?}");
}

/// The same key in other words.
#[test]
fn keys_in_hexadecimal() {
    let place = keyed();
    let digits: String = KEY.bytes().map(|octet| format!("{octet:02X}")).collect();
    place.write("hex", format!("hex:{digits}\r\n"));
    set_mode(&place, "hex", 0o400);
    let reflector = listen_in(&place, "--reflector --key-file hex");
    let client = connect(reflector.address);
    assert_eq!(ask(&client, &authenticated_request(1, KEY)).len(), 112);
}
