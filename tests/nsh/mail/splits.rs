//! However the network cuts a session in pieces, the replies are the same.

use super::{Server, sink};

/// Until the connection ends; numbers go on from one session to the next.
fn replies(server: &Server, pieces: &mut dyn Iterator<Item = &[u8]>) -> Vec<String> {
    let mut client = server.connect();
    for piece in pieces {
        client.send(piece);
    }
    let mut lines = Vec::new();
    while let Some(line) = client.line() {
        match line.starts_with("250 2.0.0 message ") {
            true => lines.push("250 2.0.0 message".to_owned()),
            false => lines.push(line),
        }
    }
    lines
}

/// In one piece, in two of every length, and octet by octet.
#[track_caller]
fn check(session: &str, codes: &str) {
    let server = sink("--no-keep --max-size 64");
    let octets = session.as_bytes();
    let whole = replies(&server, &mut [octets].into_iter());
    let got: Vec<&str> = whole.iter().map(|line| &line[..3]).collect();
    assert_eq!(got.join(" "), codes, "{session:?}");
    for at in 1..octets.len() {
        let (first, second) = octets.split_at(at);
        let split = replies(&server, &mut [first, second].into_iter());
        assert_eq!(split, whole, "{session:?} split at {at}");
    }
    let single = replies(&server, &mut octets.chunks(1));
    assert_eq!(single, whole, "{session:?} octet by octet");
}

#[test]
fn a_session() {
    check(
        "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n..\r\n.a\r\n\r\n.\r\n\
         AUTH X\r\nQUIT\r\n",
        "250 250 250 354 250 503 221",
    );
}

#[test]
fn chunks() {
    let ehlo = "250 250 250 250 250 250 250 250 250";
    check(
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 7\r\nQUIT\r\n.BDAT 2 LAST\r\n\r\n\
         QUIT\r\n",
        &format!("{ehlo} 250 250 250 250 221"),
    );
}

/// What others take for the end of a message is a part of a faulty one.
#[test]
fn smuggled_messages() {
    for ending in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r"] {
        check(
            &format!(
                "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\na{ending}MAIL FROM:<x@y>\
                 \r\n.\r\nQUIT\r\n"
            ),
            "250 250 250 354 550 221",
        );
    }
}

#[test]
fn a_message_that_is_too_large() {
    let line = "a".repeat(60);
    check(
        &format!(
            "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n{line}\r\nabc\r\n.\r\nQUIT\r\n"
        ),
        "250 250 250 354 552 221",
    );
}

/// What is behind it is not read as commands.
#[test]
fn sessions_that_the_server_ends() {
    check("HELO c\r\nNOOP\nQUIT\r\n", "250 421");
    check(
        "EHLO c\r\nBDAT x\r\nQUIT\r\n",
        "250 250 250 250 250 250 250 250 250 421",
    );
    check(
        &"GET / HTTP/1.1\r\n".repeat(11),
        "500 500 500 500 500 500 500 500 500 421",
    );
}
