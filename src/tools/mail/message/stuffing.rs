//! A message on its way out: every line end a CRLF, then dot-stuffing, RFC 5321 sections 2.3.8
//! and 4.5.2.
//!
//! Line ends come first. A server that takes `\n.\n` or `\r.\r` for the end of the message would
//! run what follows as commands, so that no such sequence may leave.

/// How the message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// Dots are stuffed, and the end is marked.
    Data,
    /// RFC 3030 section 2: BDAT says how many octets there are, and they go as they are.
    Bdat,
}

/// The state between two chunks of a message.
#[derive(Debug, Clone)]
pub(crate) struct Stuffing {
    transfer: Transfer,
    is_after_cr: bool,
    is_line_start: bool,
}

impl Stuffing {
    pub(crate) fn new(transfer: Transfer) -> Stuffing {
        Stuffing {
            transfer,
            is_after_cr: false,
            is_line_start: true,
        }
    }

    /// Appends the next octets of the message to `output`.
    pub(crate) fn push(&mut self, mut chunk: &[u8], output: &mut Vec<u8>) {
        if self.is_after_cr && !chunk.is_empty() {
            // Its CRLF has been written.
            self.is_after_cr = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = memchr::memchr2(b'\r', b'\n', chunk) {
            let (line, rest) = chunk.split_at(end);
            self.push_part(line, output);
            output.extend(b"\r\n");
            self.is_line_start = true;
            self.is_after_cr = rest == b"\r";
            chunk = rest
                .strip_prefix(b"\r\n")
                .or(rest.get(1..))
                .unwrap_or_default();
        }
        self.push_part(chunk, output);
    }

    /// The last line gets its CRLF if it has none.
    pub(crate) fn finish(self, output: &mut Vec<u8>) {
        if !self.is_line_start {
            output.extend(b"\r\n");
        }
        if self.transfer == Transfer::Data {
            output.extend(b".\r\n");
        }
    }

    fn push_part(&mut self, part: &[u8], output: &mut Vec<u8>) {
        let has_dot = self.is_line_start && part.starts_with(b".");
        if has_dot && self.transfer == Transfer::Data {
            output.push(b'.');
        }
        output.extend(part);
        self.is_line_start &= part.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn send(transfer: Transfer, chunks: &[&[u8]]) -> Vec<u8> {
        let mut stuffing = Stuffing::new(transfer);
        let mut output = Vec::new();
        for chunk in chunks {
            stuffing.push(chunk, &mut output);
        }
        stuffing.finish(&mut output);
        output
    }

    /// Whole, cut in three at every two places, and octet by octet.
    #[track_caller]
    fn check(message: &[u8], bdat: &[u8], data: &[u8]) {
        for (transfer, expected) in [(Transfer::Bdat, bdat), (Transfer::Data, data)] {
            let octets: Vec<&[u8]> = message.chunks(1).collect();
            assert_eq!(send(transfer, &octets), expected, "octet by octet");
            for second in 0..=message.len() {
                for first in 0..=second {
                    let (front, back) = message.split_at(second);
                    let (front, middle) = front.split_at(first);
                    let sent = send(transfer, &[front, middle, back]);
                    assert_eq!(sent, expected, "cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn messages_end_with_one_line_end_and_the_dot() {
        check(b"", b"", b".\r\n");
        check(b"a", b"a\r\n", b"a\r\n.\r\n");
        check(b"a\r\n", b"a\r\n", b"a\r\n.\r\n");
        check(b"a\r", b"a\r\n", b"a\r\n.\r\n");
        check(b"a\n\n", b"a\r\n\r\n", b"a\r\n\r\n.\r\n");
        check(
            b"a\rb\nc\n\rd",
            b"a\r\nb\r\nc\r\n\r\nd\r\n",
            b"a\r\nb\r\nc\r\n\r\nd\r\n.\r\n",
        );
        check(b".", b".\r\n", b"..\r\n.\r\n");
        check(b"..a\r\n.b.", b"..a\r\n.b.\r\n", b"...a\r\n..b.\r\n.\r\n");
    }

    /// SMTP smuggling: nothing a server could take for the end, but the end.
    #[test]
    fn no_early_end() {
        for end in [
            "\r\n.\r\n",
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r.\n",
            "\n.\r",
        ] {
            let message = format!("a{end}MAIL FROM:<b@c.d>");
            let bdat = b"a\r\n.\r\nMAIL FROM:<b@c.d>\r\n";
            let data = b"a\r\n..\r\nMAIL FROM:<b@c.d>\r\n.\r\n";
            check(message.as_bytes(), bdat, data);
        }
    }

    /// What a server makes of it, RFC 5321 section 4.5.2.
    fn receive(data: &[u8]) -> Option<Vec<u8>> {
        let text = data.strip_suffix(b".\r\n")?;
        let mut message = Vec::new();
        for line in text.split_inclusive(|octet| *octet == b'\n') {
            let line = line.strip_prefix(b".").unwrap_or(line);
            let inner = line.strip_suffix(b"\r\n")?;
            let is_end = inner.is_empty() && line.len() != 2;
            (!is_end && memchr::memchr2(b'\r', b'\n', inner).is_none()).then_some(())?;
            message.extend(line);
        }
        Some(message)
    }

    proptest! {
        #[test]
        fn a_server_gets_what_was_meant(chunks in vec(vec(prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>(),
        ], 0..8), 0..12)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let data = send(Transfer::Data, &chunks);
            prop_assert_eq!(receive(&data), Some(send(Transfer::Bdat, &chunks)));
        }
    }
}
