//! SMTP replies, RFC 5321 section 4.2, with the enhanced status codes of RFC 2034.

/// RFC 5321 section 4.5.3.1.5 has 512 octets. Servers that explain a refusal send more.
const LINE_OCTETS_MAX: usize = 8 << 10;
/// An EHLO reply has a line per extension, and no server offers that many.
const LINES_MAX: usize = 100;
/// What a server may make its client keep.
const REPLY_OCTETS_MAX: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// Class, subject and detail (RFC 3463), when the first line begins with them.
    pub(crate) enhanced: Option<(u8, u16, u16)>,
    /// What stands behind the code, enhanced code included. What is not UTF-8 is replaced.
    pub(crate) lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    #[error("the answer does not begin with a reply code from 200 to 599")]
    Code,
    #[error("neither a space nor a hyphen follows the reply code")]
    Separator,
    #[error("the lines of one reply have different codes")]
    CodeChanged,
    #[error("a reply line has more than {LINE_OCTETS_MAX} octets")]
    LineLength,
    #[error("a reply has more than {LINES_MAX} lines")]
    Lines,
    #[error("a reply has more than {REPLY_OCTETS_MAX} octets")]
    Length,
}

impl Reply {
    /// Reads one reply off the front of `input`, with the octets it took.
    ///
    /// `None` means that the reply is not complete yet. What remains incomplete is never longer
    /// than 64 KiB.
    pub(crate) fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
        let mut lines = Vec::new();
        let mut code = None;
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let line = match Line::parse(rest)? {
                Some(line) if taken + line.octets > REPLY_OCTETS_MAX => {
                    return Err(ReplyError::Length);
                }
                Some(line) => line,
                None if input.len() > REPLY_OCTETS_MAX => return Err(ReplyError::Length),
                None => return Ok(None),
            };
            if *code.get_or_insert(line.code) != line.code {
                return Err(ReplyError::CodeChanged);
            }
            if lines.len() == LINES_MAX {
                return Err(ReplyError::Lines);
            }
            lines.push(line.text);
            taken += line.octets;
            if line.is_last {
                return Ok(Some((Reply::new(line.code, &lines), taken)));
            }
        }
    }

    fn new(code: u16, lines: &[&[u8]]) -> Reply {
        let text = |line: &&[u8]| String::from_utf8_lossy(line).into_owned();
        let lines: Vec<String> = lines.iter().map(text).collect();
        let enhanced = lines.first().and_then(|line| parse_enhanced(code, line));
        Reply {
            code,
            enhanced,
            lines,
        }
    }
}

struct Line<'a> {
    code: u16,
    is_last: bool,
    text: &'a [u8],
    octets: usize,
}

impl Line<'_> {
    fn parse(input: &[u8]) -> Result<Option<Line<'_>>, ReplyError> {
        // Whoever does not speak SMTP is found out by the first octets, not after a time-out.
        for (place, octet) in input.iter().take(3).enumerate() {
            let is_valid = match place {
                0 => matches!(octet, b'2'..=b'5'),
                _ => octet.is_ascii_digit(),
            };
            is_valid.then_some(()).ok_or(ReplyError::Code)?;
        }
        let within = input.get(..LINE_OCTETS_MAX).unwrap_or(input);
        let Some(end) = memchr::memchr(b'\n', within) else {
            let is_long = input.len() >= LINE_OCTETS_MAX;
            return is_long.then_some(Err(ReplyError::LineLength)).transpose();
        };
        // Some servers end their lines with LF alone; no harm can come of it here.
        let line = within.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_first_chunk::<3>().ok_or(ReplyError::Code)?;
        let (is_last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReplyError::Separator),
        };
        let value = |code, digit: &u8| code * 10 + u16::from(digit - b'0');
        Ok(Some(Line {
            code: digits.iter().fold(0, value),
            is_last,
            text,
            octets: end + 1,
        }))
    }
}

/// RFC 2034 section 4: the class is the first digit of the code.
fn parse_enhanced(code: u16, line: &str) -> Option<(u8, u16, u16)> {
    let mut parts = line.split(' ').next()?.split('.');
    let class = number(parts.next()?)?;
    let subject = number(parts.next()?)?;
    let detail = number(parts.next()?)?;
    let is_valid = matches!(class, 2 | 4 | 5) && class == code / 100 && parts.next().is_none();
    let class = u8::try_from(class).ok()?;
    is_valid.then_some((class, subject, detail))
}

fn number(text: &str) -> Option<u16> {
    let is_valid = text.len() <= 3 && text.bytes().all(|octet| octet.is_ascii_digit());
    is_valid.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whole, octet by octet, and with the next reply behind it: the same reply.
    #[track_caller]
    fn check(input: &[u8], code: u16, enhanced: Option<(u8, u16, u16)>, lines: &[&str]) {
        for end in 0..input.len() {
            assert_eq!(Reply::parse(&input[..end]), Ok(None), "{end} octets");
        }
        let expected = Reply {
            code,
            enhanced,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        let expected = Ok(Some((expected, input.len())));
        assert_eq!(Reply::parse(input), expected);
        assert_eq!(Reply::parse(&[input, b"250 next\r\n"].concat()), expected);
    }

    #[test]
    fn replies() {
        check(
            b"220 mail.example ready\r\n",
            220,
            None,
            &["mail.example ready"],
        );
        let ehlo = b"250-mail.example\r\n250-SIZE 10\r\n250 8BITMIME\r\n";
        check(ehlo, 250, None, &["mail.example", "SIZE 10", "8BITMIME"]);
        check(b"250\r\n", 250, None, &[""]);
        check(b"250 \r\n", 250, None, &[""]);
        check(b"250-\r\n250\r\n", 250, None, &["", ""]);
        check(b"250-a\n250 b\n", 250, None, &["a", "b"]);
        check(b"599 \xff\x1b[2J\r\r\n", 599, None, &["\u{fffd}\x1b[2J\r"]);
    }

    #[test]
    fn enhanced_codes() {
        let text = "5.1.1 no such user";
        check(b"550 5.1.1 no such user\r\n", 550, Some((5, 1, 1)), &[text]);
        check(
            b"452-4.2.2 full\r\n452 4.2.2\r\n",
            452,
            Some((4, 2, 2)),
            &["4.2.2 full", "4.2.2"],
        );
        check(b"250 2.0.0\r\n", 250, Some((2, 0, 0)), &["2.0.0"]);
        check(b"550 5.999.0 x\r\n", 550, Some((5, 999, 0)), &["5.999.0 x"]);
        for none in [
            "2.1.1 x",
            "5.1 x",
            "5.1.1.1 x",
            "5.1000.1",
            "5..1",
            "5.1.+1",
        ] {
            check(format!("550 {none}\r\n").as_bytes(), 550, None, &[none]);
        }
        check(b"334 3.0.0\r\n", 334, None, &["3.0.0"]);
    }

    #[test]
    fn what_is_no_reply() {
        #[track_caller]
        fn check(input: &[u8], error: ReplyError) {
            assert_eq!(Reply::parse(input), Err(error));
        }
        check(b"S", ReplyError::Code);
        check(b"\x15\x03\x01", ReplyError::Code);
        check(b"2x", ReplyError::Code);
        check(b"199 x\r\n", ReplyError::Code);
        check(b"600 x\r\n", ReplyError::Code);
        check(b"25\r\n", ReplyError::Code);
        check(b"\r\n", ReplyError::Code);
        check(b"2500\r\n", ReplyError::Separator);
        check(b"250-a\r\n550 b\r\n", ReplyError::CodeChanged);
    }

    #[test]
    fn an_endless_reply_is_an_error_in_time() {
        let endless = [b"220 ".as_slice(), &vec![b'x'; LINE_OCTETS_MAX - 4]].concat();
        let (last, short) = endless.split_last().expect("octets");
        assert_eq!(Reply::parse(short), Ok(None), "and one {last} more");
        assert_eq!(Reply::parse(&endless), Err(ReplyError::LineLength));
        let (short, long) = (b"220-x\r\n".repeat(100), b"220-x\r\n".repeat(101));
        assert_eq!(Reply::parse(&short), Ok(None));
        assert_eq!(Reply::parse(&long), Err(ReplyError::Lines));
        let line = [b"220-".as_slice(), &[b'x'; 4000], b"\r\n"].concat();
        assert_eq!(Reply::parse(&line.repeat(16)), Ok(None));
        assert_eq!(Reply::parse(&line.repeat(17)), Err(ReplyError::Length));
    }

    proptest! {
        #[test]
        fn no_octets_panic_or_take_more_than_there_are(
            input in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..80).boxed(),
                "(250[- ](5\\.|2\\.|1|x){0,6}\r?\n?){0,5}".prop_map(String::into_bytes).boxed(),
            ],
        ) {
            if let Ok(Some((reply, octets))) = Reply::parse(&input) {
                prop_assert!(octets <= input.len());
                prop_assert!((200..600).contains(&reply.code));
                prop_assert_eq!(Reply::parse(&input[..octets]), Ok(Some((reply, octets))));
            }
        }
    }
}
