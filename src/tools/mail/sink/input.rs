//! The octets of a client that have not been used yet, and the command lines at their front.

use memchr::memchr;

/// How a record of TLS with a handshake begins, RFC 8446 section 5.1.
const HANDSHAKE: u8 = 22;

/// Holds at most one unfinished line besides what was pushed last.
#[derive(Default)]
pub(crate) struct Input {
    octets: Vec<u8>,
    used: usize,
    is_too_long: bool,
}

/// Shown as the reply to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// What is behind it is not known to be a command: RFC 5321 section 2.3.8 lets only CRLF
    /// end a line, and who takes less can be made to run commands out of somebody's text.
    #[error("421 4.5.2 the line ends with LF alone: lines end with CRLF")]
    BareLineFeed,
    /// A client that waits for an answer to it would never end a line.
    #[error("421 4.7.0 TLS cannot begin here")]
    Tls,
    #[error("500 5.5.6 the line is too long")]
    TooLong,
    #[error("500 5.5.2 control characters do not belong in a command")]
    Control,
    #[error("500 5.5.2 the line is not UTF-8")]
    NotUtf8,
}

impl Input {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.octets.drain(..self.used);
        self.used = 0;
        self.octets.extend_from_slice(octets);
    }

    /// The next line without its CRLF, or `None` while its end has not come.
    ///
    /// A line that is too long is reported at its end, so that the next one is read as a line.
    pub(crate) fn take_line(&mut self, octets_max: usize) -> Option<Result<String, Error>> {
        let rest = self.rest();
        if rest.first() == Some(&HANDSHAKE) && !self.is_too_long {
            self.clear();
            return Some(Err(Error::Tls));
        }
        let Some(end) = memchr(b'\n', rest) else {
            if rest.len() >= octets_max {
                self.is_too_long = true;
                // The last octet may be the CR of the end.
                self.skip(self.rest().len() - 1);
            }
            return None;
        };
        let line = rest[..end].strip_suffix(b"\r").map(<[u8]>::to_vec);
        self.skip(end + 1);
        let is_too_long = std::mem::take(&mut self.is_too_long) || end + 1 > octets_max;
        Some(match line {
            None => Err(Error::BareLineFeed),
            Some(_) if is_too_long => Err(Error::TooLong),
            Some(line) if line.iter().any(u8::is_ascii_control) => Err(Error::Control),
            Some(line) => String::from_utf8(line).map_err(|_| Error::NotUtf8),
        })
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.octets[self.used..]
    }

    /// Overwrites what is skipped, because it may have been a password.
    pub(crate) fn skip(&mut self, count: usize) {
        self.octets[self.used..self.used + count].fill(0);
        self.used += count;
    }

    pub(crate) fn clear(&mut self) {
        self.skip(self.rest().len());
        self.is_too_long = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole and octet by octet: the same lines.
    #[track_caller]
    fn check(octets: &[u8], expected: &[Result<&str, Error>]) {
        for size in [1, octets.len()] {
            let mut input = Input::default();
            let mut lines = Vec::new();
            for piece in octets.chunks(size) {
                input.push(piece);
                lines.extend(std::iter::from_fn(|| input.take_line(8)));
                assert!(
                    input.rest().len() < 8,
                    "{} octets are held",
                    input.rest().len()
                );
            }
            let expected = expected.iter().map(|line| line.map(str::to_owned));
            assert_eq!(lines, expected.collect::<Vec<_>>(), "{size} at a time");
        }
    }

    #[test]
    fn lines() {
        check(b"NOOP\r\nQUIT\r\nRS", &[Ok("NOOP"), Ok("QUIT")]);
        check(b"\r\n", &[Ok("")]);
        check("ä\r\n".as_bytes(), &[Ok("ä")]);
        check(b"\xe4\r\n", &[Err(Error::NotUtf8)]);
        check(b"NO\rP\r\nA\r\n", &[Err(Error::Control), Ok("A")]);
        check(b"\r\r\n", &[Err(Error::Control)]);
        check(b"NO\0P\r\n", &[Err(Error::Control)]);
        check(b"NOOP\nA\r\n", &[Err(Error::BareLineFeed), Ok("A")]);
        check(b"\n", &[Err(Error::BareLineFeed)]);
        check(b"NOOP\r\n\x16", &[Ok("NOOP"), Err(Error::Tls)]);
    }

    #[test]
    fn lines_of_eight_octets_at_most() {
        check(b"123456\r\n", &[Ok("123456")]);
        check(b"1234567\r\nA\r\n", &[Err(Error::TooLong), Ok("A")]);
        check(
            b"1234567890\r23456789012\r\nA\r\n",
            &[Err(Error::TooLong), Ok("A")],
        );
        check(
            b"12345678901234\nA\r\n",
            &[Err(Error::BareLineFeed), Ok("A")],
        );
    }

    #[test]
    fn nothing_stays_of_a_line_that_was_taken() {
        let mut input = Input::default();
        input.push(b"secret\r\nNO");
        input.take_line(512);
        assert_eq!(input.octets, b"\0\0\0\0\0\0\0\0NO");
    }
}
