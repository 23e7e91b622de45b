//! The connection ends at every octet that the server sends, and between them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Accident = fn(&mut Dialogue<'_>);

const ACCIDENTS: [(&str, Accident); 4] = [
    ("the server has closed the connection", |dialogue| {
        dialogue.closed(None);
    }),
    ("the connection is lost: connection reset", |dialogue| {
        dialogue.closed(Some(std::io::ErrorKind::ConnectionReset));
    }),
    ("the server has not answered in time", |dialogue| {
        dialogue.timed_out()
    }),
    ("stopped", |dialogue| dialogue.cancelled()),
];

fn fates(dialogue: Dialogue<'_>) -> String {
    let played = Played {
        outcome: dialogue.into_outcome(),
        transcript: Vec::new(),
        patience: Vec::new(),
    };
    played.fates()
}

/// A server whose words are these, at each turn, and by which of them it accepts. What the client
/// has said tells whether the server may have the whole message.
fn check_all(offered: &str, turns: &[&str], accepted_by: &str, is_whole: fn(&str) -> bool) {
    let hello = format!("250-hi\r\n{offered}\r\n");
    let turns: Vec<&str> = ["220 hi\r\n", &hello]
        .iter()
        .chain(turns)
        .copied()
        .collect();
    let octets = turns.concat();
    let taken = octets.find(accepted_by).expect(accepted_by) + accepted_by.len();
    for cut in 0..=octets.len() {
        for (words, accident) in ACCIDENTS {
            let mut dialogue = Dialogue::new(plan());
            let mut said = String::new();
            let mut left = cut;
            for turn in &turns {
                talk(&mut dialogue, &mut said, &mut BTreeMap::new());
                let (heard, _) = turn.split_at(left.min(turn.len()));
                dialogue.received(heard.as_bytes());
                left -= heard.len();
                if heard.len() < turn.len() {
                    break;
                }
            }
            talk(&mut dialogue, &mut said, &mut BTreeMap::new());
            accident(&mut dialogue);
            assert!(matches!(dialogue.poll(), Step::Done));
            let fates = fates(dialogue);
            match (cut >= taken, is_whole(&said)) {
                (true, _) => assert_eq!(fates, "accepted 7", "{cut}"),
                (false, true) => assert_eq!(fates, format!("unknown: {words}"), "{cut}"),
                (false, false) => {
                    assert!(fates.starts_with('4'), "{cut} {fates}");
                    assert!(fates.ends_with(words), "{cut} {fates}");
                }
            }
        }
    }
}

#[test]
fn a_lost_connection_leaves_the_right_end() {
    let queued = "250 OK id=7\r\n";
    let ok = "250 ok\r\n";
    let go = "354 go\r\n";
    let has_dot = |said: &str| said.contains("\r\n.\r\n");
    let turns = [ok, ok, go, queued, "221 bye\r\n"];
    check_all("250 DSN", &turns, queued, has_dot);
    let group = format!("{ok}{ok}{go}");
    let turns = [&*group, "250 OK id=7\r\n221 bye\r\n"];
    check_all("250 PIPELINING", &turns, queued, has_dot);
    let has_text = |said: &str| said.contains("LAST\r\nSubject: x\r\n\r\n.hi\r\n");
    let turns = [ok, ok, queued, "221 bye\r\n"];
    check_all("250 CHUNKING", &turns, queued, has_text);
    let group = format!("{ok}{ok}{queued}221 bye\r\n");
    check_all(
        "250-PIPELINING\r\n250 CHUNKING",
        &[&group],
        queued,
        has_text,
    );
}

/// A large message goes in pieces, and only the last of them makes it a whole one.
#[test]
fn stopped_within_the_message() {
    let text = "x".repeat(200 << 10);
    for (offered, stage) in [("250 DSN", 48), ("250-PIPELINING\r\n250 CHUNKING", 46)] {
        let hello = format!("250-hi\r\n{offered}\r\n");
        let ok = "250 ok\r\n";
        for pieces in 1..=4 {
            let mut dialogue = Dialogue::new(Plan {
                jobs: vec![job(&["b@d.e"], &text)],
                ..plan()
            });
            let turns = ["220 hi\r\n", &hello, ok, ok, "354 go\r\n"];
            let mut turns = turns.into_iter();
            let mut sent = 0;
            while sent < pieces {
                match dialogue.poll() {
                    Step::Send { patience, .. } => sent += u8::from(patience == Patience::Block),
                    _ => dialogue.received(turns.next().expect("a reply").as_bytes()),
                }
            }
            dialogue.cancelled();
            match pieces {
                4 => assert_eq!(fates(dialogue), "unknown: stopped"),
                _ => assert_eq!(fates(dialogue), format!("{stage} stopped")),
            }
        }
    }
}

/// A write fails, and what the server has said before it closed is still there.
#[test]
fn refused_within_the_message() {
    for (reply, fate) in [
        ("552 too large\r\n", "58 552 too large"),
        ("421 x\r\n", "48 421 x"),
        ("250 ok\r\n", "48 the server says more than it was asked"),
        ("", "48 the connection is lost: broken pipe"),
    ] {
        let text = "x".repeat(200 << 10);
        let mut dialogue = Dialogue::new(Plan {
            jobs: vec![job(&["b@d.e"], &text)],
            ..plan()
        });
        let ok = "250 ok\r\n";
        for turn in ["220 hi\r\n", ok, ok, ok, "354 go\r\n"] {
            talk(&mut dialogue, &mut String::new(), &mut BTreeMap::new());
            dialogue.received(turn.as_bytes());
        }
        assert!(matches!(dialogue.poll(), Step::Send { .. }));
        dialogue.received(reply.as_bytes());
        dialogue.closed(Some(std::io::ErrorKind::BrokenPipe));
        assert_eq!(fates(dialogue), fate);
    }
}

#[test]
fn a_driver_that_gives_up_early_is_no_better_off() {
    assert_eq!(fates(Dialogue::new(plan())), "43 stopped");
}

/// The deadline is for a reply, however slowly it drips.
#[test]
fn octets_do_not_move_a_deadline() {
    let mut dialogue = Dialogue::new(plan());
    let mut number = |octets: &str| {
        dialogue.received(octets.as_bytes());
        loop {
            if let Step::Receive { reply_number, .. } = dialogue.poll() {
                return reply_number;
            }
        }
    };
    let first = number("");
    assert_eq!(number("220-h"), first);
    assert_eq!(number("i\r\n220 h"), first);
    let second = number("i\r\n");
    assert_ne!(second, first);
    assert_eq!(number("250 "), second);
}

proptest! {
    /// Whatever a server sends: it ends, and nothing is accepted that was not sent.
    #[test]
    fn no_server_does_harm(
        replies in vec("(220|250|354|354|250|550|421|2|x|250-PIPELINING\r\n250|250-CHUNKING\r\n250)( a)?\r?\n", 0..12),
    ) {
        let mut dialogue = Dialogue::new(plan());
        let mut said = String::new();
        for reply in &replies {
            talk(&mut dialogue, &mut said, &mut BTreeMap::new());
            dialogue.received(reply.as_bytes());
        }
        talk(&mut dialogue, &mut said, &mut BTreeMap::new());
        dialogue.closed(None);
        prop_assert!(matches!(dialogue.poll(), Step::Done));
        let is_sent = said.contains("\r\n.\r\n") || said.contains("LAST\r\n");
        let fates = fates(dialogue);
        prop_assert!(is_sent || !fates.starts_with("accepted") && !fates.starts_with("unknown"));
    }
}
