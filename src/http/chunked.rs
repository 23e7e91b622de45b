//! The chunked transfer coding, RFC 9112 section 7.1, without the reading.
//!
//! Whatever is not exactly as the grammar has it is an error: where two recipients disagree on
//! the end of a message, what follows is smuggled past one of them. Chunk extensions and
//! trailer fields are checked, and nothing is done with them.

use memchr::memchr;

use super::head::{is_token_octet, is_value_octet, parse_field};

/// With the CRLF. A size takes up to 16 octets; the extensions in use (signatures of chunks)
/// fit into the rest.
const SIZE_LINE_OCTETS_MAX: usize = 256;
/// Of a whole message, for RFC 9112 section 7.1.1 asks for a limit: many small chunks with
/// large extensions cost their reader much and their sender little.
const EXTENSION_OCTETS_MAX: usize = 16 * 1024;
/// With the empty line at its end. Checksums and signatures take some hundreds.
const TRAILER_OCTETS_MAX: usize = 8 * 1024;
/// Enough for 64 bits.
const SIZE_DIGITS_MAX: usize = 16;

/// The last chunk, without trailer fields.
pub(crate) const LAST: &[u8] = b"0\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Never empty.
    Data(&'a [u8]),
    /// Feed further octets after those that were not taken.
    More,
    /// What follows belongs to the next message.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("a chunk size is not 1 to 16 hexadecimal digits")]
    Size,
    #[error("a chunk size line exceeds 256 octets")]
    SizeLineTooLong,
    #[error("a malformed chunk extension")]
    Extension,
    #[error("chunk extensions exceed 16 KiB")]
    ExtensionsTooLong,
    #[error("chunk data is not followed by CRLF")]
    DataEnd,
    #[error("a malformed trailer field")]
    TrailerField,
    #[error("a trailer section exceeds 8 KiB")]
    TrailerTooLong,
    #[error("a bare CR or LF")]
    LineEnd,
}

/// Keeps no octets but the trailer's, only where it is. After an error there is no going on.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    extension_octets: usize,
    trailer_octets: usize,
    trailer_lines: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size,
    /// That many octets are missing, at least one.
    Data(usize),
    DataEnd,
    Trailer,
    End,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder {
            state: State::Size,
            extension_octets: 0,
            trailer_octets: 0,
            trailer_lines: Vec::new(),
        }
    }

    /// Takes whole lines or data off the front of `input`: how many octets, and what they are.
    pub(crate) fn decode<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Part<'a>), Invalid> {
        let mut rest = input;
        let part = loop {
            match self.state {
                State::Size => {
                    let Some(line) =
                        line(&mut rest, SIZE_LINE_OCTETS_MAX, Invalid::SizeLineTooLong)?
                    else {
                        break Part::More;
                    };
                    self.state = self.on_size_line(line)?;
                }
                State::Data(missing) => {
                    let (data, behind) = rest.split_at(missing.min(rest.len()));
                    if data.is_empty() {
                        break Part::More;
                    }
                    rest = behind;
                    self.state = match missing - data.len() {
                        0 => State::DataEnd,
                        missing => State::Data(missing),
                    };
                    break Part::Data(data);
                }
                State::DataEnd => match rest {
                    [b'\r', b'\n', behind @ ..] => {
                        rest = behind;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => break Part::More,
                    _ => return Err(Invalid::DataEnd),
                },
                State::Trailer => {
                    let octets_max = TRAILER_OCTETS_MAX - self.trailer_octets;
                    let Some(line) = line(&mut rest, octets_max, Invalid::TrailerTooLong)? else {
                        break Part::More;
                    };
                    self.trailer_octets += line.len() + CRLF.len();
                    if line.is_empty() {
                        self.state = State::End;
                    } else if parse_field(line).is_err() {
                        return Err(Invalid::TrailerField);
                    } else {
                        self.trailer_lines.extend(line);
                        self.trailer_lines.extend(CRLF);
                    }
                }
                State::End => break Part::End,
            }
        };
        Ok((input.len() - rest.len(), part))
    }

    /// What came behind the last chunk so far, each line with its CRLF.
    pub(crate) fn trailer_lines(&self) -> &[u8] {
        &self.trailer_lines
    }

    fn on_size_line(&mut self, line: &[u8]) -> Result<State, Invalid> {
        let is_digit = |octet: &&u8| octet.is_ascii_hexdigit();
        let (digits, mut extensions) = line.split_at(line.iter().take_while(is_digit).count());
        let size = parse_size(digits).ok_or(Invalid::Size)?;
        self.extension_octets += extensions.len();
        if self.extension_octets > EXTENSION_OCTETS_MAX {
            return Err(Invalid::ExtensionsTooLong);
        }
        while !extensions.is_empty() {
            extensions = skip_extension(extensions).ok_or(Invalid::Extension)?;
        }
        Ok(match size {
            0 => State::Trailer,
            size => State::Data(size),
        })
    }
}

/// Writes one chunk; none for no data, which would be the last one.
pub(crate) fn frame(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    out.extend(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend(data);
    out.extend(CRLF);
}

const CRLF: &[u8] = b"\r\n";

/// Takes a line off the front of `rest`; it comes without its CRLF. `None` if it is incomplete.
fn line<'a>(
    rest: &mut &'a [u8],
    octets_max: usize,
    too_long: Invalid,
) -> Result<Option<&'a [u8]>, Invalid> {
    let within = &rest[..rest.len().min(octets_max)];
    let Some(end) = memchr(b'\n', within) else {
        return (rest.len() < octets_max).then_some(None).ok_or(too_long);
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(Invalid::LineEnd)?;
    if memchr(b'\r', line).is_some() {
        return Err(Invalid::LineEnd);
    }
    *rest = &rest[end + 1..];
    Ok(Some(line))
}

fn parse_size(digits: &[u8]) -> Option<usize> {
    if digits.len() > SIZE_DIGITS_MAX {
        return None;
    }
    usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// RFC 9112 section 7.1.1.
fn skip_extension(input: &[u8]) -> Option<&[u8]> {
    let name = skip_white_space(input).strip_prefix(b";")?;
    let rest = skip_token(skip_white_space(name))?;
    let Some(value) = skip_white_space(rest).strip_prefix(b"=") else {
        return Some(rest);
    };
    let value = skip_white_space(value);
    match value.strip_prefix(b"\"") {
        Some(text) => skip_quoted_text(text),
        None => skip_token(value),
    }
}

fn skip_white_space(input: &[u8]) -> &[u8] {
    let is_space = |octet: &&u8| matches!(octet, b' ' | b'\t');
    &input[input.iter().take_while(is_space).count()..]
}

fn skip_token(input: &[u8]) -> Option<&[u8]> {
    let octets = input
        .iter()
        .take_while(|octet| is_token_octet(**octet))
        .count();
    (octets > 0).then_some(&input[octets..])
}

/// A quoted-string behind its opening quote.
fn skip_quoted_text(mut input: &[u8]) -> Option<&[u8]> {
    loop {
        input = match input {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', octet, rest @ ..] if is_value_octet(*octet) => rest,
            [octet, rest @ ..] if is_value_octet(*octet) && *octet != b'\\' => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, and the octets taken up to the end if it was reached.
    type Outcome = (Vec<u8>, Result<Option<usize>, Invalid>);

    /// As a caller does who receives so many octets at a time, over and over.
    fn read(input: &[u8], steps: &[usize]) -> Outcome {
        let mut steps = steps.iter().cycle();
        let mut decoder = Decoder::new();
        let (mut data, mut taken, mut received) = (Vec::new(), 0, 0);
        loop {
            let (octets, part) = match decoder.decode(&input[taken..received]) {
                Ok(decoded) => decoded,
                Err(invalid) => return (data, Err(invalid)),
            };
            taken += octets;
            match part {
                Part::Data(octets) => data.extend(octets),
                Part::End => return (data, Ok(Some(taken))),
                Part::More if received == input.len() => return (data, Ok(None)),
                Part::More => {
                    let step = steps.next().copied().unwrap_or(input.len());
                    received = (received + step).min(input.len());
                }
            }
        }
    }

    /// In pieces of every size, and whole.
    #[track_caller]
    fn check(input: &str, data: &str, end: Result<Option<usize>, Invalid>) {
        for step in 1..=input.len() {
            let expected = (data.as_bytes().to_vec(), end);
            assert_eq!(
                read(input.as_bytes(), &[step]),
                expected,
                "{step} at a time"
            );
        }
    }

    /// By itself, and with the next message behind it.
    #[track_caller]
    fn check_message(input: &str, data: &str) {
        check(input, data, Ok(Some(input.len())));
        check(&format!("{input}0\r\n"), data, Ok(Some(input.len())));
    }

    #[test]
    fn messages() {
        check_message("0\r\n\r\n", "");
        check_message(
            "5\r\nhello\r\n00a\r\n 0\r\n\r\n yes\r\n0\r\n\r\n",
            "hello 0\r\n\r\n yes",
        );
        check_message(
            "A;a;b=c ;\td = \"\\\";\\\\\"\r\n0123456789\r\n000;x\r\n\r\n",
            "0123456789",
        );
        check_message("1\r\nx\r\n0\r\nDigest: a b\r\nX:\r\n\r\n", "x");
        check("5\r\nhel", "hel", Ok(None));
        check("1\r\nx\r\n0\r\nA: b\r\n", "x", Ok(None));
        check("ffffffffffffffff\r\nxyz", "xyz", Ok(None));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for size in ["", " 1", "+1", "-1", "g", "00000000000000001"] {
            check(&format!("{size}\r\nx\r\n"), "", Err(Invalid::Size));
        }
        for behind in [
            "x1", " ", ";", ";a=", ";a b", ";a=b c", ";=b", ";a=\"b", ";a=\"\\", ";a\0",
        ] {
            check(&format!("0{behind}\r\n\r\n"), "", Err(Invalid::Extension));
        }
        for line in [
            "1\nx\r\n",
            "1;a\rb\r\n",
            "1;a=\"\n\"\r\n",
            "0\r\na: b\n",
            "0\r\na: b\rc\r\n",
        ] {
            check(line, "", Err(Invalid::LineEnd));
        }
        for field in [
            "a",
            ": b",
            "a : b",
            " a: b",
            "a: b\r\n c",
            "a: \0",
            "a: \x7f",
        ] {
            check(
                &format!("0\r\n{field}\r\n\r\n"),
                "",
                Err(Invalid::TrailerField),
            );
        }
        check("1\r\nxy\r\n", "x", Err(Invalid::DataEnd));
        check("1\r\nx\n0\r\n\r\n", "x", Err(Invalid::DataEnd));
    }

    #[test]
    fn limits() {
        let end = |input: String| read(input.as_bytes(), &[1000]).1;
        let size_line = |octets: usize| format!("0;{}\r\n\r\n", "a".repeat(octets - 4));
        assert_eq!(end(size_line(256)), Ok(Some(258)));
        assert_eq!(end(size_line(257)), Err(Invalid::SizeLineTooLong));
        let trailer = |octets: usize| format!("0\r\na:{}\r\n\r\n", "b".repeat(octets - 6));
        assert_eq!(end(trailer(8192)), Ok(Some(3 + 8192)));
        assert_eq!(end(trailer(8193)), Err(Invalid::TrailerTooLong));
        // 128 octets of extensions each.
        let chunk = format!("1;{}\r\nx\r\n", "a".repeat(127));
        assert_eq!(end(chunk.repeat(128)), Ok(None));
        assert_eq!(end(chunk.repeat(129)), Err(Invalid::ExtensionsTooLong));
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        let likely = "([0-3]?(;a(=b|=\"c\")?)?\r?\n|x|a: b\r\n|0\r\n|1\r\nx\r\n|\\PC){0,12}";
        let any = proptest::collection::vec(any::<u8>(), 0..100);
        prop_oneof![likely.prop_map(String::into_bytes), any]
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_every_split_reads_the_same(
            octets in octets(),
            steps in proptest::collection::vec(1..20_usize, 1..8),
        ) {
            prop_assert_eq!(read(&octets, &steps), read(&octets, &[]));
        }

        #[test]
        fn what_is_framed_is_read(pieces in proptest::collection::vec("\\PC{0,20}", 0..5)) {
            let mut message = Vec::new();
            for piece in &pieces {
                frame(piece.as_bytes(), &mut message);
            }
            message.extend(LAST);
            let expected = (pieces.concat().into_bytes(), Ok(Some(message.len())));
            prop_assert_eq!(read(&message, &[7]), expected);
        }
    }
}
