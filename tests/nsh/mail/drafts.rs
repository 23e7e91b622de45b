//! Messages that are kept, and sent again.

use super::server::{BYE, ENVELOPE, HELLO, LETTER, Server, tell};
use crate::prompt::Terminal;
use crate::support::{matches, unused_port};

const OWN_ADDRESS: &str = "127.0.0.88";

#[test]
fn what_may_have_gone_can_be_sent_again() {
    let told = tell("", &format!("{HELLO}{ENVELOPE}"));
    let [draft] = &told.drafts()[..] else {
        panic!("{:?}", told.ran);
    };
    let script = format!("{HELLO}{ENVELOPE}S: 250 2.0.0 queued as X2\n{BYE}");
    let server = Server::start(&script);
    let (address, draft) = (&server.address, draft.display());
    let line = format!("mail --server {address} --tls none --ehlo c.test --message {draft}");
    let ran = told.place.run(&["-c", &line]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let message = |said: &str| said.split_once("DATA\r\n").expect("a message").1.to_owned();
    assert_eq!(
        message(&told.said),
        message(&server.end()).replace("QUIT\r\n", "")
    );
}

/// Who is asked for is told nothing by the message.
#[test]
fn a_finished_message() {
    let told = super::server::tell_in(
        {
            let place = crate::support::place();
            place.write(
                "note.eml",
                "From: Ann <ann@a.test>\nTo: all@b.test\nBcc: eve@b.test\nSubject: s\n\n.hi\n",
            );
            place
        },
        "--tls none --ehlo c.test --message note.eml --to bob@b.test",
        &format!("{HELLO}{ENVELOPE}S: 250 ok\n{BYE}"),
    );
    told.check(0, "bob@b.test: accepted: ok");
    let expected = "From: Ann <ann@a.test>\r\nTo: all@b.test\r\nSubject: s\r\n\r\n..hi\r\n.\r\n";
    assert!(told.said.contains(expected), "{}", told.said);
}

#[test]
fn no_message() {
    for (text, why) in [
        ("hello", "line 1 is no header field"),
        ("To: a@b.c\n\n", "it has no From; give --from"),
        ("From: a@b.c\n\n", "it names no recipient; give --to"),
    ] {
        let place = crate::support::place();
        place.write("note.eml", text);
        let ran = place.run(&["-c", "mail --server 127.0.0.1:1 --message note.eml"]);
        let told = format!("mail: note.eml: {why}\n");
        assert_eq!((ran.stderr, ran.status), (told, 2));
    }
}

/// The text that somebody has typed is nowhere else.
#[test]
fn what_was_typed_is_kept_when_it_is_not_accepted() {
    let port = unused_port(OWN_ADDRESS);
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    let line = format!("mail --server {OWN_ADDRESS}:{port} --tls none {}", LETTER);
    terminal.type_keys(&format!("{}\r", line.replace("--body text ", "")));
    terminal.type_keys("typed with care\r.\r");
    terminal.see_at_cursor("send it? [Y/n]");
    terminal.type_keys("y\r");
    terminal.see_gone(".eml --to bob@b.test");
    let folder = terminal.place.path().join(".local/state/nsh/drafts");
    let mut entries = std::fs::read_dir(folder).expect("a folder");
    let draft = entries.next().expect("a draft").expect("an entry").path();
    let text = std::fs::read_to_string(draft).expect("a message");
    assert!(matches("...\r\n\r\ntyped with care\r\n", &text), "{text}");
}
