use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MESSAGE_OCTETS_MAX: usize = 60;

fn session() -> Session {
    Session::new(Options {
        hostname: "mail.example".to_owned(),
        can_start_tls: true,
        is_tls: false,
        can_auth_without_tls: true,
        message_octets_max: MESSAGE_OCTETS_MAX,
        recipients_max: 3,
    })
}

/// What the client sees, with the driver's part between angle brackets, and the messages.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    text: String,
    heard: Vec<String>,
    messages: Vec<Received>,
}

fn converse<'a>(
    session: &mut Session,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    is_kept: bool,
) -> Seen {
    let mut seen = Seen::default();
    for piece in pieces {
        session.receive(piece);
        while let Some(action) = session.poll() {
            match action {
                Action::Heard(line) => seen.heard.push(line),
                Action::Reply(octets) => seen.text += &String::from_utf8_lossy(&octets),
                Action::StartTls => seen.text += "<tls>\r\n",
                Action::Message(received) => {
                    seen.messages.push(received);
                    session.on_kept(is_kept.then_some(seen.messages.len() as u64));
                }
                Action::Close => seen.text += "<close>\r\n",
            }
        }
    }
    seen
}

/// The lines of the client are those with "C: ". All at once, cut in two anywhere, and octet by
/// octet, they get the others.
#[track_caller]
fn check(transcript: &str) -> Vec<Received> {
    let (mut input, mut expected) = (String::new(), String::new());
    for line in transcript.lines().map(str::trim_start) {
        match line.strip_prefix("C: ") {
            Some(line) => input += &format!("{line}\r\n"),
            None => expected += &format!("{line}\r\n"),
        }
    }
    check_octets(input.as_bytes(), &expected)
}

#[track_caller]
fn check_octets(input: &[u8], expected: &str) -> Vec<Received> {
    let whole = converse(&mut session(), [input], true);
    assert_eq!(whole.text, expected);
    for at in 0..input.len() {
        let seen = converse(&mut session(), [&input[..at], &input[at..]], true);
        assert_eq!(seen, whole, "cut at {at}");
    }
    let seen = converse(&mut session(), input.chunks(1), true);
    assert_eq!(seen, whole, "octet by octet");
    whole.messages
}

/// A message is under way, with one recipient.
const ENVELOPE: &str = "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";

/// What follows on the envelope gets these replies.
#[track_caller]
fn check_behind_envelope(input: &str, expected: &str) -> Vec<Received> {
    let before = converse(&mut session(), [ENVELOPE.as_bytes()], true).text;
    let input = format!("{ENVELOPE}{input}");
    check_octets(input.as_bytes(), &format!("{before}{expected}"))
}

#[test]
fn a_message() {
    assert!(session().greeting().starts_with(b"220 mail.example ESMTP "));
    let received = check(
        "C: EHLO client.example
        250-mail.example
        250-SIZE 60
        250-8BITMIME
        250-SMTPUTF8
        250-PIPELINING
        250-CHUNKING
        250-HELP
        250-ENHANCEDSTATUSCODES
        250-AUTH PLAIN LOGIN
        250 STARTTLS
        C: MAIL FROM:<ann@client.example> SIZE=60 BODY=8BITMIME
        250 2.1.0 the sender is accepted
        C: RCPT TO:<bob@mail.example>
        250 2.1.5 the recipient is accepted
        C: RCPT TO:<Postmaster>
        250 2.1.5 the recipient is accepted
        C: DATA
        354 the message ends with a dot alone on a line
        C: Subject: dots
        C: 
        C: ..
        C: .
        250 2.0.0 message 1 is accepted
        C: QUIT
        221 2.0.0 good bye
        <close>",
    );
    let expected = Received {
        helo: "client.example".to_owned(),
        is_esmtp: true,
        is_tls: false,
        user: None,
        mail_from: "ann@client.example".to_owned(),
        recipients: vec!["bob@mail.example".to_owned(), "Postmaster".to_owned()],
        octets: b"Subject: dots\r\n\r\n.\r\n".to_vec(),
        smtputf8: false,
    };
    assert_eq!(received, [expected]);
}

#[test]
fn an_old_client_with_two_messages() {
    let received = check(
        "C: HELO c
        250 mail.example
        C: MAIL FROM:<> SIZE=1
        555 5.5.4 parameters need EHLO
        C: MAIL FROM:<>
        250 2.1.0 the sender is accepted
        C: RCPT TO:<a@b>
        250 2.1.5 the recipient is accepted
        C: DATA
        354 the message ends with a dot alone on a line
        C: .
        250 2.0.0 message 1 is accepted
        C: STARTTLS
        503 5.5.1 EHLO comes first
        C: MAIL FROM:<>
        250 2.1.0 the sender is accepted
        C: RCPT TO:<c@d>
        250 2.1.5 the recipient is accepted
        C: BDAT 0 LAST
        503 5.5.1 EHLO comes first
        C: DATA
        354 the message ends with a dot alone on a line
        C: QUIT
        C: .
        250 2.0.0 message 2 is accepted",
    );
    let seen = received.iter().map(|message| &*message.octets);
    assert_eq!(seen.collect::<Vec<_>>(), [&b""[..], b"QUIT\r\n"]);
    assert!(received.iter().all(|message| !message.is_esmtp));
}

#[test]
fn commands_that_are_out_of_order_or_unknown() {
    check(
        "C: MAIL FROM:<a@b>
        503 5.5.1 EHLO or HELO comes first
        C: RCPT TO:<a@b>
        503 5.5.1 MAIL comes first
        C: DATA
        503 5.5.1 MAIL comes first
        C: BDAT 4
        C: ab
        503 5.5.1 EHLO comes first
        C: AUTH PLAIN
        503 5.5.1 EHLO comes first
        C: HELP
        214-2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT
        214-2.0.0 RSET NOOP VRFY HELP QUIT
        214 2.0.0 mail to refuse, later, full and reject is refused, at any domain
        C: VRFY ann
        252 2.0.0 everybody gets mail
        C: NOOP
        250 2.0.0 nothing is done
        C: HELO c
        250 mail.example
        C: MAIL FROM:<a@b>
        250 2.1.0 the sender is accepted
        C: MAIL FROM:<a@b>
        503 5.5.1 a message is under way: RSET drops it
        C: DATA
        554 5.5.1 there are no recipients
        C: RSET
        250 2.0.0 no message is under way
        C: RCPT TO:<a@b>
        503 5.5.1 MAIL comes first
        C: EXPN staff
        502 5.5.1 this command is not implemented
        C: GET / HTTP/1.1
        500 5.5.1 this is not a command
        C: Host: mail.example
        421 4.7.0 there are too many errors
        <close>
        C: QUIT",
    );
}

#[test]
fn recipients_that_misbehave() {
    let received = check(
        "C: HELO c
        250 mail.example
        C: MAIL FROM:<a@b>
        250 2.1.0 the sender is accepted
        C: RCPT TO:<Refuse@any.example>
        550 5.1.1 there is no such mailbox
        C: RCPT TO:<later@any.example>
        451 4.2.1 try again later
        C: RCPT TO:<full@any.example>
        452 4.2.2 the mailbox is full
        C: RCPT TO:<refused@any.example>
        250 2.1.5 the recipient is accepted
        C: RCPT TO:<reject@any.example>
        250 2.1.5 the recipient is accepted
        C: RCPT TO:<c@d>
        250 2.1.5 the recipient is accepted
        C: RCPT TO:<e@f>
        452 4.5.3 there are too many recipients
        C: DATA
        354 the message ends with a dot alone on a line
        C: .
        554 5.6.0 the message is rejected",
    );
    assert!(received.is_empty());
}

#[test]
fn authentication() {
    let login = "C: EHLO c
        C: AUTH LOGIN
        334 VXNlcm5hbWU6
        C: *
        501 5.7.0 the authentication is cancelled
        C: AUTH PLAIN
        334 \n        C: AGFubgBzZWNyZXQ=
        235 2.7.0 any password is right
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        503 5.5.1 the client is already authenticated
        C: MAIL FROM:<a@b> AUTH=ann@b
        250 2.1.0 the sender is accepted
        C: RCPT TO:<c@d>
        250 2.1.5 the recipient is accepted
        C: BDAT 2 LAST";
    let ehlo = converse(&mut session(), [&b"EHLO c\r\n"[..]], true).text;
    let transcript = login.replace("C: EHLO c\n", &format!("C: EHLO c\n{ehlo}"));
    let received = check(&format!(
        "{transcript}\nC: \n250 2.0.0 message 1 is accepted"
    ));
    assert_eq!(received[0].user.as_deref(), Some("ann"));
    assert_eq!(received[0].octets, b"\r\n");
}

#[test]
fn nobody_who_looks_on_sees_a_secret() {
    #[track_caller]
    fn check(input: &str, heard: &[&str]) {
        let input = format!("EHLO c\r\n{input}");
        let seen = converse(&mut session(), [input.as_bytes()], true);
        assert_eq!(seen.heard[1..], *heard, "{input:?}");
    }
    check("auth PLAIN AGFubgBzZWNyZXQ=\r\n", &["auth PLAIN ***"]);
    check(
        "AUTH LOGIN\r\nYW5u\r\nc2VjcmV0\r\n",
        &["AUTH LOGIN", "***", "***"],
    );
    check("AUTH LOGIN\r\n*\r\nYW5u\r\n", &["AUTH LOGIN", "***", "***"]);
    check("AUTH X\r\nYW5u\r\nNOOP\r\n", &["AUTH X", "***", "NOOP"]);
    check("AUTH PLAIN YW5u c2VjcmV0\r\n", &["AUTH ***"]);
    check("AUTHPLAIN c2VjcmV0\r\nYW5u\r\n", &["AUTH ***", "***"]);
    check("HELO\r\nSECRET\r\n", &["HELO", "SECRET"]);
    let message = format!("{}DATA\r\n..\r\n.\r\n", &ENVELOPE[8..]);
    let heard = [
        "MAIL FROM:<a@b>",
        "RCPT TO:<c@d>",
        "DATA",
        "... a message of 3 octets",
        ".",
    ];
    check(&message, &heard);
}

#[test]
fn passwords_wait_for_tls() {
    let mut session = session();
    session.options.can_auth_without_tls = false;
    let mut say = |text: &str| converse(&mut session, [text.as_bytes()], true).text;
    assert!(!say("EHLO c\r\n").contains("AUTH"));
    let refused = "538 5.7.11 passwords are only for TLS\r\n";
    assert_eq!(say("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), refused);
    assert_eq!(say("STARTTLS\r\n"), "220 2.0.0 begin TLS\r\n<tls>\r\n");
    session.tls_started();
    let mut say = |text: &str| converse(&mut session, [text.as_bytes()], true).text;
    assert!(say("EHLO c\r\n").contains("AUTH PLAIN LOGIN"));
    assert!(say("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n").starts_with("235 "));
}

#[test]
fn tls_forgets_what_came_before() {
    let mut session = session();
    let before = format!(
        "EHLO c\r\nAUTH PLAIN AGEAYg==\r\n{}STARTTLS\r\n",
        &ENVELOPE[8..]
    );
    let seen = converse(&mut session, [before.as_bytes()], true);
    assert!(seen.text.ends_with("220 2.0.0 begin TLS\r\n<tls>\r\n"));
    session.tls_started();
    let mut say = |text: &str| converse(&mut session, [text.as_bytes()], true);
    assert!(say("DATA\r\n").text.starts_with("503 5.5.1 MAIL"));
    assert!(
        say("MAIL FROM:<a@b>\r\n")
            .text
            .starts_with("503 5.5.1 EHLO")
    );
    let ehlo = say("EHLO d\r\n").text;
    assert!(
        ehlo.contains("AUTH") && !ehlo.contains("STARTTLS"),
        "{ehlo}"
    );
    assert_eq!(
        say("STARTTLS\r\n").text,
        "503 5.5.1 TLS is already in use\r\n"
    );
    let message = format!("{}BDAT 0 LAST\r\n", &ENVELOPE[8..]);
    let received = &say(&message).messages[0];
    let seen = (&*received.helo, received.is_tls, &received.user);
    assert_eq!(seen, ("d", true, &None));
}

#[test]
fn nothing_is_smuggled_across_the_start_of_tls() {
    let whole = b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\n";
    let seen = converse(&mut session(), [&whole[..]], true);
    let end = "421 4.7.0 something came behind STARTTLS and before TLS\r\n<close>\r\n";
    assert!(seen.text.ends_with(end), "{}", seen.text);
    let mut session = session();
    let seen = converse(&mut session, [&whole[..18], &whole[18..]], true);
    let end = "220 2.0.0 begin TLS\r\n<tls>\r\n<close>\r\n";
    assert!(seen.text.ends_with(end), "{}", seen.text);
    session.tls_started();
    assert_eq!(
        converse(&mut session, [&b"NOOP\r\n"[..]], true),
        Seen::default()
    );
}

#[test]
fn what_ends_the_session() {
    #[track_caller]
    fn check(line: &str, code: &str) {
        let input = format!("{line}NOOP\r\n");
        let seen = converse(&mut session(), [input.as_bytes()], true).text;
        let (reply, rest) = seen.split_once("\r\n").expect("a reply");
        assert_eq!((&reply[..9], rest), (code, "<close>\r\n"), "{line:?}");
    }
    check("EHLO c\n", "421 4.5.2");
    check("BDAT x\r\n", "421 4.5.4");
    check("\u{16}\u{3}\u{1}\u{2}\0\u{1}", "421 4.7.0");
}

#[test]
fn lines_that_are_too_long_or_odd() {
    let long =
        |verb: &str, octets: usize| format!("{verb}{}\r\n", "a".repeat(octets - 2 - verb.len()));
    #[track_caller]
    fn check(line: &str, code: &str) {
        let seen = converse(&mut session(), [line.as_bytes(), b"NOOP\r\n"], true).text;
        let (reply, rest) = seen.split_once("\r\n").expect("a reply");
        assert_eq!((&reply[..9], rest), (code, "250 2.0.0 nothing is done\r\n"));
    }
    check(&long("NOOP ", 512), "250 2.0.0");
    check(&long("NOOP ", 513), "500 5.5.6");
    check(&long("AUTH ", 12_288), "503 5.5.1");
    check(&long("AUTH ", 12_289), "500 5.5.6");
    check(&long("mail ", 1065), "501 5.5.2");
    check(&long("mail ", 1066), "500 5.5.6");
    check("NO\rOP\r\n", "500 5.5.2");
    check("NOOP \0\r\n", "500 5.5.2");
}

#[test]
fn addresses_beyond_ascii() {
    let mut session = session();
    let mut say = |text: &str| converse(&mut session, [text.as_bytes()], true);
    say("EHLO c\r\n");
    let refused = "553 5.6.7 the address needs SMTPUTF8\r\n";
    assert_eq!(say("MAIL FROM:<jürgen@b>\r\n").text, refused);
    say("MAIL FROM:<a@b>\r\n");
    assert_eq!(say("RCPT TO:<jürgen@b>\r\n").text, refused);
    say("RSET\r\nMAIL FROM:<jürgen@b> SMTPUTF8\r\nRCPT TO:<größe@d>\r\n");
    let received = &say("BDAT 0 LAST\r\n").messages[0];
    let seen = (
        &*received.mail_from,
        &*received.recipients[0],
        received.smtputf8,
    );
    assert_eq!(seen, ("jürgen@b", "größe@d", true));
}

#[test]
fn chunks() {
    let accepted = "250 2.0.0 the chunk is accepted\r\n";
    let kept = "250 2.0.0 message 1 is accepted\r\n";
    let received = check_behind_envelope(
        "BDAT 5\r\n.\r\n.\rBDAT 7 LAST\r\n\nQUIT\r\n",
        &format!("{accepted}{kept}"),
    );
    assert_eq!(received[0].octets, b".\r\n.\r\nQUIT\r\n");
    check_behind_envelope(
        "BDAT 2\r\n\r\nDATA\r\nRCPT TO:<e@f>\r\nRSET\r\nBDAT 2 LAST\r\n\r\n",
        &format!(
            "{accepted}{0}{0}250 2.0.0 no message is under way\r\n\
             503 5.5.1 MAIL comes first\r\n",
            "503 5.5.1 BDAT goes on with BDAT\r\n"
        ),
    );
    check_behind_envelope(
        "BDAT 3 LAST\r\na\nb",
        "550 5.6.0 line 1 has LF without CR: lines end with CRLF\r\n",
    );
}

#[test]
fn messages_that_are_too_large() {
    let too_large = "552 5.3.4 the message is too large\r\n";
    let data = "354 the message ends with a dot alone on a line\r\n";
    let next = format!("{too_large}503 5.5.1 MAIL comes first\r\n");
    let line = format!("{}\r\n", "a".repeat(MESSAGE_OCTETS_MAX - 1));
    let input = format!("DATA\r\n{line}.\r\nDATA\r\n");
    check_behind_envelope(&input, &format!("{data}{next}"));
    check_behind_envelope(&format!("BDAT 61\r\n{line}BDAT 2 LAST\r\n\r\n"), &next);
    check_behind_envelope(&format!("BDAT 61 LAST\r\n{line}DATA\r\n"), &next);
    let input = "RSET\r\nMAIL FROM:<a@b> SIZE=61\r\nDATA\r\n";
    check_behind_envelope(
        input,
        &format!("250 2.0.0 no message is under way\r\n{next}"),
    );
}

#[test]
fn a_smuggled_message_is_part_of_a_faulty_one() {
    for ending in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r"] {
        let input = format!("{ENVELOPE}DATA\r\na{ending}MAIL FROM:<x@y>\r\n.\r\nNOOP\r\n");
        for size in 1..=input.len() {
            let seen = converse(&mut session(), input.as_bytes().chunks(size), true);
            let (_, replies) = seen.text.split_once("354 ").expect("data");
            let codes: Vec<&str> = replies.lines().skip(1).map(|line| &line[..9]).collect();
            assert_eq!(codes, ["550 5.6.0", "250 2.0.0"], "{ending:?} {size}");
            assert!(seen.messages.is_empty());
        }
    }
}

#[test]
fn the_client_keeps_what_the_driver_could_not_keep() {
    let input = format!("{ENVELOPE}BDAT 0 LAST\r\nNOOP\r\n");
    let seen = converse(&mut session(), [input.as_bytes()], false);
    let end = "451 4.3.0 the message could not be kept\r\n250 2.0.0 nothing is done\r\n";
    assert!(seen.text.ends_with(end), "{}", seen.text);
}

proptest! {
    #[test]
    fn any_octets_get_whole_replies_in_any_pieces(
        parts in vec(
            prop_oneof![
                4 => "(ehlo c|helo c|mail from:<a@b>|rcpt to:<c@d>|data|rset|quit)\r\n",
                2 => "(bdat [0-9]{1,2}( last)?|auth (plain|login)( [a-zA-Z]{4})?|\\.|\\*)\r\n",
                2 => "[a\r\n.\0ä]{0,9}",
                1 => "\\PC{0,9}\r\n",
            ],
            0..12,
        ),
        octets in vec(any::<u8>(), 0..9),
        size in 1_usize..40,
    ) {
        let input = [parts.concat().as_bytes(), &octets].concat();
        let whole = converse(&mut session(), [&input[..]], true);
        for line in whole.text.lines().filter(|line| *line != "<close>") {
            let code = line.get(..3).is_some_and(|code| code.parse::<u16>().is_ok());
            prop_assert!(code && line.len() + 2 <= 512, "{line}");
        }
        prop_assert_eq!(converse(&mut session(), input.chunks(size), true), whole);
    }
}
