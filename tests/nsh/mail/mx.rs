//! `mail --mx` in a small world: which exchangers it asks, in which order, and what it makes of
//! their answers.

use serde_json::{Value, json};

use super::lab::{Dns, Exchanger};
use super::{Place, place};
use crate::support::{Ran, matches, unused_port};

/// Each test has a network of its own, so that its exchangers can share a port.
const OWN_ADDRESSES: &str = "127.25.";

pub struct World {
    pub place: Place,
    pub network: String,
    pub port: u16,
}

impl World {
    pub fn new(number: u8) -> World {
        let network = format!("{OWN_ADDRESSES}{number}");
        World {
            place: place(),
            port: unused_port(&format!("{network}.1")),
            network,
        }
    }

    pub fn exchanger(
        &self,
        number: u8,
        manners: &'static [(&'static str, &'static str)],
    ) -> Exchanger {
        Exchanger::start(&format!("{}.{number}", self.network), self.port, manners)
    }

    /// `N` behind a type A stands for an address of this network.
    pub fn zone(&self, text: &str) -> String {
        text.replace(" A ", &format!(" A {}.", self.network))
    }

    pub fn send(&self, dns: &Dns, to: &str, options: &str) -> (Vec<Value>, Ran) {
        let line =
            format!("--mx --from ann@here.test --to {to} --subject Hello --body Hi {options}");
        self.mail(dns, &line)
    }

    pub fn mail(&self, dns: &Dns, options: &str) -> (Vec<Value>, Ran) {
        let ran = self.place.run(&["--json", "-c", &self.line(dns, options)]);
        let event = |line| serde_json::from_str(line).expect("a JSON line");
        (ran.stdout.lines().map(event).collect(), ran)
    }

    pub fn line(&self, dns: &Dns, options: &str) -> String {
        let (port, dns) = (self.port, &dns.address);
        format!("mail --mx-port {port} --dns {dns} --ehlo here.test {options}")
    }
}

/// These fields of the events of a kind.
pub fn fields(events: &[Value], kind: &str, names: &[&str]) -> Value {
    let of_kind = events.iter().filter(|event| event["event"] == kind);
    let picked = of_kind.map(|event| names.iter().map(|name| event[*name].clone()).collect());
    Value::Array(picked.collect())
}

#[test]
fn the_best_exchanger_of_each_domain_gets_the_message_once() {
    let world = World::new(1);
    let zone = world.zone(
        "one.test MX 20 mx2.one.test
        one.test MX 10 mx1.one.test
        mx1.one.test A 2
        mx2.one.test A 3
        two.test MX 0 mail.two.test
        mail.two.test A 4",
    );
    let dns = Dns::start(&zone);
    let exchangers = [2, 3, 4].map(|number| world.exchanger(number, &[]));
    let to = "bob@one.test,carl@two.test,Dora@ONE.test";
    let (events, ran) = world.send(&dns, to, "");
    assert_eq!(ran.status, 0, "{ran:?}");
    let expected = json!([
        ["bob@one.test", "accepted"],
        ["Dora@ONE.test", "accepted"],
        ["carl@two.test", "accepted"]
    ]);
    assert_eq!(
        fields(&events, "recipient", &["address", "result"]),
        expected
    );
    let expected = json!([["4DzXyz", 2], ["4DzXyz", 1]]);
    assert_eq!(fields(&events, "sent", &["queue_id", "accepted"]), expected);
    let commands = |exchanger: &Exchanger| exchanger.seen()[..5].to_vec();
    let envelope = [
        "EHLO here.test",
        "MAIL FROM:<ann@here.test>",
        "RCPT TO:<bob@one.test>",
        "RCPT TO:<Dora@ONE.test>",
        "DATA",
    ];
    assert_eq!(commands(&exchangers[0]), envelope);
    assert_eq!(exchangers[1].seen(), [""; 0]);
    assert_eq!(
        commands(&exchangers[2])[2..4],
        ["RCPT TO:<carl@two.test>", "DATA"]
    );
    let listed = json!([
        {"preference": 10, "name": "mx1.one.test"},
        {"preference": 20, "name": "mx2.one.test"}
    ]);
    assert_eq!(
        fields(&events, "exchangers", &["domain", "exchangers"])[0],
        json!(["one.test", listed])
    );
}

#[test]
fn the_next_one_is_asked_as_long_as_nothing_is_settled() {
    let world = World::new(2);
    let zone = world.zone(
        "lab.test MX 1 gone.lab.test
        lab.test MX 2 nowhere.lab.test
        lab.test MX 3 busy.lab.test
        lab.test MX 4 shy.lab.test
        lab.test MX 5 closed.lab.test
        lab.test MX 6 two.lab.test
        nowhere.lab.test TXT
        busy.lab.test A 2
        shy.lab.test A 3
        closed.lab.test A 5
        two.lab.test A 9
        two.lab.test A 4",
    );
    let dns = Dns::start(&zone);
    let _busy = world.exchanger(2, &[("", "421 4.3.2 too many connections")]);
    let _shy = world.exchanger(3, &[("MAIL", "450 4.7.1 not yet")]);
    let _closed = world.exchanger(5, &[("", "554 5.3.2 no service here")]);
    let last = world.exchanger(4, &[]);
    let (events, ran) = world.send(&dns, "bob@lab.test", "");
    assert_eq!(ran.status, 0, "{ran:?}");
    let expected = json!([
        ["gone.lab.test", "dns"],
        ["nowhere.lab.test", "dns"],
        ["busy.lab.test", "greeting"],
        ["shy.lab.test", "mail"],
        ["closed.lab.test", "greeting"],
        ["two.lab.test", "connect"]
    ]);
    assert_eq!(fields(&events, "passed", &["exchanger", "stage"]), expected);
    assert_eq!(last.seen().last().map(String::as_str), Some("QUIT"));
}

/// The fate and where it fell, of each recipient, and the exit status.
#[track_caller]
fn check(told: (Vec<Value>, Ran), expected: Value, status: i32) -> Vec<Value> {
    let (events, ran) = told;
    let fates = fields(&events, "recipient", &["address", "result", "stage"]);
    assert_eq!((fates, ran.status), (expected, status), "{ran:?}");
    events
}

#[test]
fn what_is_settled_is_not_asked_again() {
    let world = World::new(3);
    let dns = Dns::start(&world.zone(
        "lost.test MX 1 c.lab.test
        lost.test MX 2 b.lab.test
        no.test MX 1 d.lab.test
        no.test MX 2 b.lab.test
        read.test MX 1 e.lab.test
        read.test MX 2 b.lab.test
        b.lab.test A 3
        c.lab.test A 4
        d.lab.test A 5
        e.lab.test A 6",
    ));
    let untouched = world.exchanger(3, &[]);
    let _lost = world.exchanger(4, &[(".", "close")]);
    let _never = world.exchanger(5, &[("MAIL", "550 5.7.1 not from you")]);
    let _read = world.exchanger(6, &[(".", "451 4.7.1 not this, not now")]);
    let told = world.send(&dns, "bob@lost.test", "");
    let events = check(told, json!([["bob@lost.test", "unknown", "final dot"]]), 49);
    assert_eq!(fields(&events, "kept", &[]), json!([[]]));
    let told = world.send(&dns, "bob@no.test", "");
    check(told, json!([["bob@no.test", "refused", "mail"]]), 56);
    let told = world.send(&dns, "bob@read.test", "");
    check(told, json!([["bob@read.test", "later", "final dot"]]), 49);
    assert_eq!(untouched.seen(), [""; 0]);
}

#[test]
fn only_who_is_put_off_goes_on_to_the_next_exchanger() {
    let world = World::new(8);
    let dns = Dns::start(&world.zone(
        "lab.test MX 1 a.lab.test
        lab.test MX 2 b.lab.test
        lost.test MX 1 c.lab.test
        lost.test MX 2 b.lab.test
        a.lab.test A 2
        b.lab.test A 3
        c.lab.test A 4",
    ));
    const NEVER: (&str, &str) = ("RCPT TO:<never", "550 5.1.1 nobody");
    const LATER: (&str, &str) = ("RCPT TO:<later", "450 4.2.0 greylisted");
    let _first = world.exchanger(2, &[NEVER, LATER]);
    let second = world.exchanger(3, &[]);
    let _lost = world.exchanger(4, &[LATER, (".", "close")]);
    let told = world.send(&dns, "bob@lab.test,never@lab.test,later@lab.test", "");
    let fates = json!([
        ["bob@lab.test", "accepted", null],
        ["never@lab.test", "refused", "rcpt"],
        ["later@lab.test", "accepted", null]
    ]);
    let events = check(told, fates, 3);
    let expected = json!([["a.lab.test", "later@lab.test", "450 4.2.0 greylisted"]]);
    let names = ["exchanger", "recipient", "reason"];
    assert_eq!(fields(&events, "passed", &names), expected);
    let sent = fields(&events, "sent", &["accepted", "refused"]);
    assert_eq!(sent, json!([[1, 1], [1, 0]]));
    // Who may have it already does not go on.
    let told = world.send(&dns, "bob@lost.test,later@lost.test", "");
    let fates = json!([
        ["bob@lost.test", "unknown", "final dot"],
        ["later@lost.test", "accepted", null]
    ]);
    check(told, fates, 3);
    let seen = second.seen();
    let recipients = seen.iter().filter(|line| line.starts_with("RCPT"));
    let expected = ["RCPT TO:<later@lab.test>", "RCPT TO:<later@lost.test>"];
    assert!(recipients.eq(expected), "{seen:?}");
}

/// Of all exchangers, whether or not the others can be reached.
#[test]
fn the_last_answer_is_reported() {
    let world = World::new(9);
    let dns = Dns::start(&world.zone(
        "one.test MX 1 a.lab.test
        one.test MX 2 down.lab.test
        one.test MX 3 gone.lab.test
        two.test MX 1 a.lab.test
        two.test MX 2 b.lab.test
        a.lab.test A 2
        b.lab.test A 3
        down.lab.test A 9",
    ));
    let _first = world.exchanger(2, &[("RCPT", "450 4.2.0 greylisted")]);
    let _second = world.exchanger(3, &[("RCPT", "452 4.2.2 full")]);
    let check = |domain: &str, words: &str| {
        let (events, ran) = world.send(&dns, &format!("bob@{domain}"), "");
        let told = fields(&events, "recipient", &["result", "stage", "words"]);
        let expected = json!([["later", "rcpt", words]]);
        assert_eq!((told, ran.status), (expected, 47), "{ran:?}");
    };
    check("one.test", "450 4.2.0 greylisted");
    check("two.test", "452 4.2.2 full");
}

#[test]
fn a_limit_is_told_from_a_failure() {
    let world = World::new(10);
    let mut zone = "wide.test MX 1 mx.wide.test
        both.test MX 1 mx.wide.test
        both.test MX 2 mx2.wide.test
        both.test MX 3 mx3.wide.test"
        .to_owned();
    for number in 0..60 {
        zone += &format!("\ncrowd.test MX {number} mx{number}.crowd.test");
        zone += &format!("\nmx{number}.crowd.test A 99");
        zone += &format!("\nabsent.test MX {number} mx{number}.absent.test");
    }
    for address in 100..107 {
        zone += &format!("\nmx.wide.test A {address}\nmx2.wide.test A {address}");
    }
    let dns = Dns::start(&world.zone(&zone));
    let check = |domain: &str, attempts: usize, status: i32, words: &str| {
        let (events, ran) = world.send(&dns, &format!("bob@{domain}"), "");
        let passed = fields(&events, "passed", &[]);
        assert_eq!(passed.as_array().map(Vec::len), Some(attempts), "{ran:?}");
        let told = fields(&events, "recipient", &["result", "words"]);
        let told = [&told[0][0], &told[0][1]].map(|text| text.as_str().unwrap_or_default());
        assert_eq!((told[0], ran.status), ("later", status), "{ran:?}");
        assert!(matches(words, told[1]), "{ran:?}");
    };
    let (network, port) = (&world.network, world.port);
    let refused = format!("connection refused by {network}.99:{port}...");
    let words = "given up after 10 attempts, with 50 exchangers not tried; so far: ";
    check("crowd.test", 10, 41, &format!("{words}{refused}"));
    let absent = "5.4.4 none of the mail exchangers of 'absent.test' has an address";
    check("absent.test", 10, 40, &format!("{words}{absent}"));
    let words = "given up after 5 attempts, with 2 addresses not tried; so far: connection...";
    check("wide.test", 5, 41, words);
    let words =
        "given up after 10 attempts, with 4 addresses and 1 exchanger not tried; so far: ...";
    check("both.test", 10, 41, words);
}

/// A name server that answers neither question about a name before it has heard both.
#[test]
fn both_families_are_asked_for_at_the_same_time() {
    let world = World::new(11);
    let dns = Dns::in_pairs(&world.zone(
        "lab.test MX 10 mx.lab.test
        mx.lab.test A 2
        half.test MX 10 mx.half.test
        mx.half.test A 2
        mx.half.test SERVFAIL AAAA",
    ));
    let _exchanger = world.exchanger(2, &[]);
    for domain in ["lab.test", "half.test"] {
        let told = world.send(&dns, &format!("bob@{domain}"), "");
        let accepted = json!([[format!("bob@{domain}"), "accepted", null]]);
        check(told, accepted, 0);
    }
}

#[test]
fn domains_without_exchangers() {
    let world = World::new(4);
    let dns = Dns::start(&world.zone(
        "null.test MX 0 .
        broken.test SERVFAIL
        dangling.test CNAME gone.test
        bare.test TXT
        half.test MX 10 mx.half.test
        mx.half.test SERVFAIL
        down.test MX 10 mx.down.test
        mx.down.test A 9",
    ));
    let check = |domain: &str, status, words: &str| {
        let (events, ran) = world.send(&dns, &format!("bob@{domain}"), "");
        let told = fields(&events, "recipient", &["words"]);
        assert_eq!((told, ran.status), (json!([[words]]), status), "{ran:?}");
    };
    let words = "5.1.10 'null.test' takes no mail: its MX record says that it has no exchanger";
    check("null.test", 50, words);
    check("gone.test", 50, "5.1.2 there is no domain 'gone.test'");
    let words = "5.1.2 'dangling.test' is an alias of 'gone.test', which does not exist";
    check("dangling.test", 50, words);
    check("bare.test", 50, "5.4.4 'bare.test' has no address");
    let words = "4.4.3 cannot look up 'broken.test': the name server failed to find out (SERVFAIL)";
    check("broken.test", 40, words);
    let words =
        "4.4.3 cannot look up 'mx.half.test': the name server failed to find out (SERVFAIL)";
    check("half.test", 40, words);
    let port = world.port;
    let words = format!(
        "connection refused by {0}.9:{port}: nothing is listening there; 'mail --sink -p {port}' \
         starts a server that catches mail",
        world.network
    );
    check("down.test", 41, &words);
}

#[test]
fn other_ways_to_an_exchanger() {
    let world = World::new(5);
    let mut zone = world.zone(
        "implicit.test A 2
        alias.test CNAME real.test
        real.test MX 10 mx.real.test
        mx.real.test CNAME host.test
        host.test A 2",
    );
    for number in 0..41 {
        zone += &format!("\nmany.test MX {number} mx{number}.many.test");
    }
    zone += &world.zone("\nmx9.many.test A 2");
    zone += &format!("\nnumber.test MX 10 {}.2", world.network);
    let dns = Dns::start(&zone);
    let _exchanger = world.exchanger(2, &[]);
    let literal = format!("[{}.2]", world.network);
    let domains = ["implicit.test", "alias.test", "many.test", "number.test"];
    for domain in domains.into_iter().chain([&*literal]) {
        let (events, ran) = world.send(&dns, &format!("bob@{domain}"), "");
        assert_eq!(ran.status, 0, "{ran:?}");
        let server = fields(&events, "connected", &["server"]);
        let (server, notes) = match domain {
            "implicit.test" => (server, json!([])),
            "alias.test" => (
                server,
                json!([[
                    "the exchanger mx.real.test is an alias of host.test, which RFC 2181 forbids"
                ]]),
            ),
            "number.test" => {
                let text = "the MX record has the address NET.2 where RFC 5321 wants a name";
                (server, json!([[text.replace("NET", &world.network)]]))
            }
            _ => (server, json!([])),
        };
        assert_eq!(server.as_array().map(Vec::len), Some(1), "{ran:?}");
        assert_eq!(fields(&events, "noted", &["text"]), notes);
    }
    let (_, ran) = world.send(&dns, "bob@192.0.2.1", "");
    assert_eq!(ran.status, 2, "{ran:?}");
    let (events, ran) = world.send(&dns, "a@implicit.test,b@gone.test", "");
    assert_eq!(ran.status, 3, "{ran:?}");
    assert_eq!(
        fields(&events, "recipient", &["result"]),
        json!([["accepted"], ["refused"]])
    );
}

/// Greylisted, and let in at the next attempt.
#[test]
fn another_attempt_is_for_those_that_are_open() {
    let world = World::new(40);
    let dns = Dns::start(&world.zone(
        "one.test MX 1 a.lab.test
        two.test MX 1 b.lab.test
        a.lab.test A 2
        b.lab.test A 3",
    ));
    let first = world.exchanger(2, &[]);
    let _second = world.exchanger(3, &[("RCPT TO:<later", "450 4.2.0 greylisted")]);
    let options = "--retry 1 --retry-after 1ms";
    let (events, ran) = world.send(&dns, "bob@one.test,later@two.test", options);
    let again = fields(&events, "again", &["recipients", "seconds"]);
    assert_eq!(again, json!([[1, 0.001]]), "{ran:?}");
    let expected = json!([
        ["bob@one.test", "accepted"],
        ["later@two.test", "later"],
        ["later@two.test", "later"]
    ]);
    assert_eq!(
        fields(&events, "recipient", &["address", "result"]),
        expected
    );
    assert_eq!(ran.status, 3);
    let seen = first.seen();
    assert_eq!(
        seen.iter().filter(|line| line.starts_with("MAIL")).count(),
        1
    );
}
