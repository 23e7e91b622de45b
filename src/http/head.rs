//! Message heads, RFC 9112 sections 2 to 5.
//!
//! Where the RFC lets a recipient repair a head, this refuses it: two programs that repair the
//! same head differently see two different messages (request smuggling). Lines end with CRLF,
//! nothing is folded, names are tokens, values have no control characters.

use super::{Refusal, Version, bad_request};

/// RFC 9112 section 3 wants at least 8,000 octets for a request line.
const TARGET_OCTETS_MAX: usize = 8 << 10;
/// Browsers send about twenty.
const FIELD_LINES_MAX: usize = 128;
/// Some old clients send one behind a body (RFC 9112 section 2.2).
const EMPTY_LINES_MAX: usize = 4;

const TOO_LARGE: Refusal = Refusal {
    status: 431,
    why: "the header section is too large",
};
const TARGET_TOO_LONG: Refusal = Refusal {
    status: 414,
    why: "the request target is longer than 8,192 octets",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    /// Without the white space around it.
    pub(crate) value: &'a [u8],
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a>(pub(crate) Vec<Field<'a>>);

impl<'a> Fields<'a> {
    /// The values of all lines with this name, in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.value)
    }

    pub(crate) fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The elements of a comma-separated list that has no quoted strings, over all its lines.
    pub(crate) fn tokens(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|octet| *octet == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) version: Version,
    pub(crate) fields: Fields<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResponseHead<'a> {
    pub(crate) version: Version,
    pub(crate) status: u16,
    pub(crate) reason: &'a [u8],
    pub(crate) fields: Fields<'a>,
}

/// Looks for a head's end in octets that come in pieces, and at each of them once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scan {
    /// Where the head begins, behind empty lines.
    start: usize,
    /// Where the first line begins whose end has not come.
    line: usize,
}

impl Scan {
    /// Whether nothing but empty lines has come.
    pub(crate) fn is_before(&self, input: &[u8]) -> bool {
        self.line == self.start && matches!(&input[self.start..], [] | [b'\r'])
    }

    /// Where the head lies in `input`, its last empty line included; `None`: not all is there.
    ///
    /// `input` must begin with what it began with in the last call.
    pub(crate) fn find(
        &mut self,
        input: &[u8],
        octets_max: usize,
    ) -> Result<Option<std::ops::Range<usize>>, Refusal> {
        while let Some(length) = memchr::memchr(b'\n', &input[self.line..]) {
            let end = self.line + length;
            if input[self.line..end].last() != Some(&b'\r') {
                return Err(bad_request("a line ends with a line feed alone"));
            }
            let (is_empty, is_first) = (length == 1, self.line == self.start);
            self.line = end + 1;
            match (is_empty, is_first) {
                (true, true) if self.line > 2 * EMPTY_LINES_MAX => {
                    return Err(bad_request("empty lines instead of a request"));
                }
                (true, true) => self.start = self.line,
                (true, false) if self.line > octets_max => return Err(TOO_LARGE),
                (true, false) => return Ok(Some(self.start..self.line)),
                (false, _) => {}
            }
        }
        if input.len() <= octets_max {
            Ok(None)
        } else if self.line == self.start {
            Err(TARGET_TOO_LONG)
        } else {
            Err(TOO_LARGE)
        }
    }
}

/// Reads a whole head as [`Scan`] found it.
pub(crate) fn parse_request(head: &[u8]) -> Result<RequestHead<'_>, Refusal> {
    let mut lines = Lines(head);
    let line = lines.next().unwrap_or_default();
    let mut parts = line.split(|octet| *octet == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad_request(
            "the request line is not a method, a target and a version with one space between",
        ));
    };
    if !is_token(method) {
        return Err(bad_request("the method is not a token"));
    }
    let version = parse_version(version)?;
    if target.len() > TARGET_OCTETS_MAX {
        return Err(TARGET_TOO_LONG);
    }
    if target.is_empty() || !target.iter().all(|octet| is_target_octet(*octet)) {
        return Err(bad_request(
            "the request target has an octet that must be percent-encoded",
        ));
    }
    let fields = parse_fields(lines, parse_field)?;
    Ok(RequestHead {
        method,
        target,
        version,
        fields,
    })
}

/// The status of a response's head, for which nothing else is looked at.
pub(crate) fn parse_status(head: &[u8]) -> Option<u16> {
    let code = str::from_utf8(head.get(9..12)?).ok()?;
    let is_number = code.bytes().all(|digit| digit.is_ascii_digit());
    code.parse().ok().filter(|_| is_number)
}

pub(crate) fn parse_response(head: &[u8]) -> Result<ResponseHead<'_>, Refusal> {
    const NOT_HTTP: Refusal = bad_request("it does not begin with an HTTP status line");
    let mut lines = Lines(head);
    let line = lines.next().unwrap_or_default();
    let (version, rest) = line.split_at_checked(8).ok_or(NOT_HTTP)?;
    let (code, reason) = rest.split_at_checked(4).ok_or(NOT_HTTP)?;
    let [b' ', hundreds @ b'1'..=b'9', tens, ones] = code else {
        return Err(NOT_HTTP);
    };
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return Err(NOT_HTTP);
    }
    let status = [hundreds, tens, ones]
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0'));
    // Many servers leave out the space before a reason that is empty.
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] if reason.iter().all(|octet| is_value_octet(*octet)) => reason,
        _ => return Err(NOT_HTTP),
    };
    Ok(ResponseHead {
        version: parse_version(version)?,
        status,
        reason,
        fields: parse_fields(lines, parse_response_field)?,
    })
}

/// What lies between the CRLFs, up to the empty line.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.0)?;
        let line = self.0[..end].strip_suffix(b"\r")?;
        self.0 = &self.0[end + 1..];
        (!line.is_empty()).then_some(line)
    }
}

fn parse_version(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            major @ b'0'..=b'9',
            b'.',
            b'0'..=b'9',
        ] => match major {
            b'1' => Ok(Version::Http11),
            _ => Err(Refusal {
                status: 505,
                why: "only HTTP/1.0 and HTTP/1.1 are spoken here",
            }),
        },
        _ => Err(bad_request("no HTTP version where it should be")),
    }
}

fn parse_fields<'a>(
    lines: Lines<'a>,
    parse: fn(&'a [u8]) -> Result<Field<'a>, Refusal>,
) -> Result<Fields<'a>, Refusal> {
    let mut fields = Vec::with_capacity(16);
    for line in lines {
        if fields.len() == FIELD_LINES_MAX {
            return Err(Refusal {
                status: 431,
                why: "more than 128 header fields",
            });
        }
        fields.push(parse(line)?);
    }
    Ok(Fields(fields))
}

pub(crate) fn parse_field(line: &[u8]) -> Result<Field<'_>, Refusal> {
    let (name, value) = split_field(line)?;
    field(name, value)
}

/// RFC 9112 section 5.1: white space before the colon is removed from responses.
fn parse_response_field(line: &[u8]) -> Result<Field<'_>, Refusal> {
    let (name, value) = split_field(line)?;
    field(name.trim_ascii_end(), value)
}

fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err(bad_request("a header line begins with white space"));
    }
    match memchr::memchr(b':', line) {
        Some(colon) => Ok((&line[..colon], &line[colon + 1..])),
        None => Err(bad_request("a header line without a colon")),
    }
}

fn field<'a>(name: &'a [u8], value: &'a [u8]) -> Result<Field<'a>, Refusal> {
    if !is_token(name) {
        return Err(bad_request("a header field's name is not a token"));
    }
    // Without an early end, the compiler looks at many octets at once.
    if !value
        .iter()
        .fold(true, |are_valid, octet| are_valid & is_value_octet(*octet))
    {
        return Err(bad_request(
            "a header field's value has a control character",
        ));
    }
    Ok(Field {
        name,
        value: value.trim_ascii(),
    })
}

pub(crate) fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|octet| is_token_octet(*octet))
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token_octet(octet: u8) -> bool {
    const IS_TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut others: &[u8] = b"!#$%&'*+-.^_`|~";
        while let [octet, rest @ ..] = others {
            table[*octet as usize] = true;
            others = rest;
        }
        let mut octet = 0_u8;
        while octet < 128 {
            table[octet as usize] |= octet.is_ascii_alphanumeric();
            octet += 1;
        }
        table
    };
    IS_TOKEN[usize::from(octet)]
}

/// RFC 9110 section 5.5, obs-text included.
pub(crate) fn is_value_octet(octet: u8) -> bool {
    (octet >= b' ' && octet != 0x7f) || octet == b'\t'
}

/// Browsers send a few that RFC 3986 wants encoded (`|`, `^`, `{`); a fragment never.
fn is_target_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b'#'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OCTETS_MAX: usize = 64 << 10;

    fn read(input: &[u8]) -> Result<Option<RequestHead<'_>>, Refusal> {
        let found = Scan::default().find(input, OCTETS_MAX)?;
        found.map(|found| parse_request(&input[found])).transpose()
    }

    #[track_caller]
    fn refused(status: u16, input: &str) {
        let refusal = read(input.as_bytes()).expect_err(input);
        assert_eq!(refusal.status, status, "{input:?}: {}", refusal.why);
    }

    #[test]
    fn a_request_is_read() {
        let input = b"\r\nGET /a?b HTTP/1.1\r\nHost: x\r\nAccept:\t a, b \r\nx:\r\n\r\nGET";
        let head = read(input).expect("a head").expect("all of it");
        assert_eq!((head.method, head.target), (&b"GET"[..], &b"/a?b"[..]));
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.fields.first("ACCEPT"), Some(&b"a, b"[..]));
        assert_eq!(head.fields.first("x"), Some(&b""[..]));
        assert_eq!(head.fields.tokens("accept").count(), 2);
    }

    #[test]
    fn what_others_repair_is_refused() {
        for line in [
            "GET  / HTTP/1.1",
            "GET /",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "G(T / HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.",
            "GET / HTTP/1.10",
            "GET / HTTP/11",
            "GET /\r HTTP/1.1",
        ] {
            refused(400, &format!("{line}\r\nHost: x\r\n\r\n"));
        }
        for fields in [
            "Host : x",
            " Host: x",
            "Host: x\r\n folded",
            "Host",
            ": x",
            "Ho st: x",
            "Host: a\0",
            "Host: a\rb",
            "Host: \x7f",
            "Host: x\n",
            "H\u{e9}: x",
        ] {
            refused(400, &format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n"));
        }
        refused(400, "GET / HTTP/1.1\nHost: x\n\n");
        refused(400, "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        refused(505, "GET / HTTP/2.0\r\n\r\n");
        refused(414, &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9000)));
        refused(414, &"a".repeat(OCTETS_MAX + 1));
        refused(
            431,
            &format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(129)),
        );
        let long = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(OCTETS_MAX));
        refused(431, &long);
        refused(431, &(long + "\r\n\r\n"));
    }

    #[test]
    fn white_space_before_the_colon_is_removed_from_responses_only() {
        let head = parse_response(b"HTTP/1.1 200 OK\r\nA \t: b\r\n\r\n").expect("a head");
        assert_eq!(head.fields.first("a"), Some(&b"b"[..]));
        refused(400, "GET / HTTP/1.1\r\nA : b\r\n\r\n");
    }

    #[test]
    fn a_response_is_read() {
        let check = |line: &str, status: u16, reason: &str| {
            let head = format!("{line}\r\nA: b\r\n\r\n");
            let head = parse_response(head.as_bytes()).expect(line);
            assert_eq!((head.status, head.reason), (status, reason.as_bytes()));
            assert_eq!(head.fields.0.len(), 1);
        };
        check("HTTP/1.1 200 OK", 200, "OK");
        check("HTTP/1.0 404 Not here at all", 404, "Not here at all");
        check("HTTP/1.1 204 ", 204, "");
        check("HTTP/1.1 599", 599, "");
        for wrong in [
            "HTTP/1.1 20",
            "HTTP/1.1 2000",
            "HTTP/1.1  200 OK",
            "ICY 200 OK",
            "HTTP/1.1 099 x",
            "HTTP/2.0 200 OK",
            "SSH-2.0-OpenSSH_9.2",
            "HTTP/1.1 200 a\x1bb",
        ] {
            assert!(
                parse_response(format!("{wrong}\r\n\r\n").as_bytes()).is_err(),
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic_and_no_split_changes_anything(
            input in "(GET|\\PC|[\r\n]){0,9} /(a|b){0,9} HTTP/1.1(\r\n|\n|\r)(a: ?(b|\t)?\r\n|x){0,5}(\r\n){0,3}",
            at in any::<prop::sample::Index>(),
        ) {
            let input = input.as_bytes();
            let at = at.index(input.len() + 1);
            let whole = Scan::default().find(input, OCTETS_MAX);
            let mut scan = Scan::default();
            let first = scan.find(&input[..at], OCTETS_MAX);
            let split = match first {
                Ok(None) => scan.find(input, OCTETS_MAX),
                early => early,
            };
            prop_assert_eq!(&whole, &split);
            if let Ok(Some(found)) = whole {
                let _ = parse_request(&input[found.clone()]);
                let _ = parse_response(&input[found]);
            }
        }
    }
}
