//! A message on its way in: the transparency of DATA, RFC 5321 section 4.5.2, and what is wrong
//! with the message.
//!
//! Only CRLF "." CRLF ends the data. What others have taken for it, with LF or CR alone, is a
//! way to smuggle messages, and makes this message faulty instead.

use std::mem;

use memchr::{memchr2, memchr2_iter};

/// The octets so far, as they are to be kept.
pub(crate) struct Message {
    octets: Vec<u8>,
    octets_max: usize,
    pub(crate) octets_pushed: u64,
    pub(crate) is_too_large: bool,
}

/// Shown as the reply to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("552 5.3.4 the message is too large")]
    TooLarge,
    #[error("550 5.6.0 line {0} has LF without CR: lines end with CRLF")]
    BareLineFeed(usize),
    #[error("550 5.6.0 line {0} has CR without LF: lines end with CRLF")]
    BareCarriageReturn(usize),
}

/// Where in the data the next octet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unstuffing {
    LineStart,
    /// Behind a dot at the start of a line, which is not part of the message.
    Dot,
    DotCarriageReturn,
    Line,
    CarriageReturn,
    /// Behind the line of the dot alone.
    Complete,
}

impl Message {
    pub(crate) fn new(octets_max: usize) -> Message {
        Message {
            octets: Vec::new(),
            octets_max,
            octets_pushed: 0,
            is_too_large: false,
        }
    }

    /// What is too much is not held.
    pub(crate) fn push(&mut self, octets: &[u8]) {
        let room = self.octets_max - self.octets.len();
        self.octets_pushed += octets.len() as u64;
        if self.is_too_large || octets.len() > room {
            self.is_too_large = true;
            self.octets = Vec::new();
        } else {
            self.octets.extend_from_slice(octets);
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, Fault> {
        if self.is_too_large {
            return Err(Fault::TooLarge);
        }
        match find_bare(&self.octets) {
            Some(fault) => Err(fault),
            None => Ok(self.octets),
        }
    }
}

impl Unstuffing {
    /// Moves data to the message, and says how many octets it took; it stops when complete.
    pub(crate) fn unstuff(&mut self, input: &[u8], message: &mut Message) -> usize {
        let mut used = 0;
        while let Some(octet) = input.get(used) {
            let after_text = match octet {
                b'\r' => Unstuffing::CarriageReturn,
                _ => Unstuffing::Line,
            };
            let next = match (*self, octet) {
                (Unstuffing::Complete, _) => break,
                (Unstuffing::LineStart, b'.') => Unstuffing::Dot,
                (Unstuffing::Dot, b'\r') => Unstuffing::DotCarriageReturn,
                (Unstuffing::DotCarriageReturn, b'\n') => Unstuffing::Complete,
                (Unstuffing::DotCarriageReturn, _) => {
                    message.push(b"\r");
                    // The octet is one behind a CR in any line.
                    *self = Unstuffing::CarriageReturn;
                    continue;
                }
                (Unstuffing::CarriageReturn, b'\n') => {
                    message.push(b"\n");
                    Unstuffing::LineStart
                }
                (Unstuffing::LineStart | Unstuffing::Dot, _)
                | (Unstuffing::Line | Unstuffing::CarriageReturn, b'\r' | b'\n') => {
                    message.push(&[*octet]);
                    after_text
                }
                (Unstuffing::Line | Unstuffing::CarriageReturn, _) => {
                    let text = &input[used..];
                    let text = &text[..memchr2(b'\r', b'\n', text).unwrap_or(text.len())];
                    message.push(text);
                    used += text.len();
                    *self = Unstuffing::Line;
                    continue;
                }
            };
            used += 1;
            *self = next;
        }
        used
    }
}

/// The first end of a line that is half a one, with the number of the line.
fn find_bare(octets: &[u8]) -> Option<Fault> {
    let mut line = 1;
    let mut carriage_return = None;
    for at in memchr2_iter(b'\r', b'\n', octets) {
        let is_behind = mem::take(&mut carriage_return).map(|before: usize| before + 1 == at);
        match (is_behind, octets[at]) {
            (Some(true), b'\n') => line += 1,
            (Some(_), _) => return Some(Fault::BareCarriageReturn(line)),
            (None, b'\n') => return Some(Fault::BareLineFeed(line)),
            (None, _) => carriage_return = Some(at),
        }
    }
    carriage_return.map(|_| Fault::BareCarriageReturn(line))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const OCTETS_MAX: usize = 40;

    /// What became of the message, and how many octets it took.
    fn receive(data: &[u8], size: usize) -> Option<(Result<Vec<u8>, Fault>, usize)> {
        let mut message = Message::new(OCTETS_MAX);
        let mut unstuffing = Unstuffing::LineStart;
        let mut used = 0;
        for piece in data.chunks(size) {
            used += unstuffing.unstuff(piece, &mut message);
            if unstuffing == Unstuffing::Complete {
                return Some((message.finish(), used));
            }
        }
        assert_eq!(used, data.len());
        None
    }

    /// In pieces of any size, and with the next command behind it.
    #[track_caller]
    fn check(data: &str, expected: Result<&str, Fault>) {
        let with_command = format!("{data}QUIT\r\n");
        for size in 1..=with_command.len() {
            let expected = expected.map(|message| message.as_bytes().to_vec());
            let received = receive(with_command.as_bytes(), size);
            assert_eq!(received, Some((expected, data.len())), "{size}");
        }
    }

    #[test]
    fn messages() {
        check(".\r\n", Ok(""));
        check("\r\n.\r\n", Ok("\r\n"));
        check("A: b\r\n\r\ntext\r\n.\r\n", Ok("A: b\r\n\r\ntext\r\n"));
        check("..\r\n.\r\n", Ok(".\r\n"));
        check(
            "...\r\n.x.\r\n. \r\na.\r\n.\r\n",
            Ok("..\r\nx.\r\n \r\na.\r\n"),
        );
    }

    /// Each is only a part of the message, which makes it faulty.
    #[test]
    fn what_does_not_end_the_data() {
        use Fault::{BareCarriageReturn, BareLineFeed};
        let smuggled = [
            ("\n.\n", BareLineFeed(2)),
            ("\n.\r\n", BareLineFeed(2)),
            ("\r\n.\n", BareLineFeed(3)),
            ("\r.\r", BareCarriageReturn(2)),
            ("\r.\r\n", BareCarriageReturn(2)),
            ("\r\n.\r", BareCarriageReturn(3)),
            ("\r.\n", BareCarriageReturn(2)),
            ("\n.\r", BareLineFeed(2)),
            ("\r\n.\r\r\n", BareCarriageReturn(3)),
            ("\r\r\n.\r\r\n", BareCarriageReturn(2)),
            ("\0\r\n.\n\r\n", BareLineFeed(3)),
        ];
        for (ending, fault) in smuggled {
            check(&format!("a\r\nb{ending}MAIL\r\n.\r\n"), Err(fault));
        }
        for ending in ["", "\r", "\r\n.", "\r\n.\r", "\r\n..\r\n", "\n.\n", "\r.\r"] {
            assert_eq!(
                receive(format!("a{ending}").as_bytes(), 1),
                None,
                "{ending:?}"
            );
        }
    }

    #[test]
    fn too_large() {
        let longest = format!("{}\r\n", "a".repeat(OCTETS_MAX - 2));
        check(&format!("{longest}.\r\n"), Ok(&longest));
        check(&format!("a{longest}.\r\n"), Err(Fault::TooLarge));
        let lines = "0123456\r\n".repeat(9);
        check(&format!("{lines}\n\r\n.\r\n"), Err(Fault::TooLarge));
    }

    proptest! {
        /// The way there and back: stuffed as a client does it.
        #[test]
        fn lines_arrive_as_they_were(lines in vec("[.a]{0,4}", 0..5)) {
            let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed = |line: &String| match line.starts_with('.') {
                true => format!(".{line}\r\n"),
                false => format!("{line}\r\n"),
            };
            let data: String = lines.iter().map(stuffed).collect();
            check(&format!("{data}.\r\n"), Ok(&message));
        }

        #[test]
        fn any_octets_are_read_alike_in_any_pieces(
            data in "[.\r\na]{0,30}",
            size in 1_usize..30,
        ) {
            prop_assert_eq!(receive(data.as_bytes(), 30), receive(data.as_bytes(), size));
        }
    }
}
