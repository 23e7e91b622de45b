//! From the path of a request target to names below the root.
//!
//! It is decoded once. A name that could mean something else to the file system, or to another
//! server on the way, is refused instead of repaired.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All that RFC 3986 section 3.3 does not let stand in a segment, and `:` and `@`, which could
/// make a relative reference look like something else.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Not empty, no slash, no `.` or `..`.
    pub(super) segments: Vec<Vec<u8>>,
    /// It ends with a slash.
    pub(super) is_folder: bool,
}

/// Why there can be no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Path {
    pub(super) fn parse(raw: &[u8]) -> Result<Path, Malformed> {
        let mut segments = Vec::new();
        for segment in raw.split(|octet| *octet == b'/') {
            let name = decode(segment)?;
            match name.as_slice() {
                b"" => {}
                b"." | b".." => return Err(Malformed("the path has a dot segment")),
                _ => segments.push(name),
            }
        }
        Ok(Path {
            segments,
            is_folder: raw.ends_with(b"/"),
        })
    }

    /// Names that begin with a dot are nobody's business, but for RFC 8615.
    pub(super) fn is_hidden(&self) -> bool {
        let mut names = self.segments.iter();
        names.any(|name| is_hidden(name))
    }

    /// As the file system wants it.
    pub(super) fn relative(&self) -> Vec<u8> {
        if self.segments.is_empty() {
            b".".to_vec()
        } else {
            self.segments.join(&b'/')
        }
    }

    /// `/a/b/`, decoded.
    pub(super) fn folder(&self) -> Vec<u8> {
        let mut path = b"/".to_vec();
        for segment in &self.segments {
            path.extend_from_slice(segment);
            path.push(b'/');
        }
        path
    }

    /// The same with a slash behind it, for `Location`. It begins with one slash, so that it
    /// names a path of this server and never another host.
    pub(super) fn with_slash(&self) -> String {
        let mut location = "/".to_owned();
        for segment in &self.segments {
            location.extend(percent_encode(segment, ENCODED));
            location.push('/');
        }
        location
    }
}

pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") && name != b".well-known"
}

fn decode(segment: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut name = Vec::with_capacity(segment.len());
    let mut rest = segment.iter();
    while let Some(octet) = rest.next() {
        let octet = match octet {
            b'%' => hex(rest.next())
                .zip(hex(rest.next()))
                .map(|(high, low)| high * 16 + low)
                .ok_or(Malformed("the path has a '%' without two hex digits"))?,
            octet => *octet,
        };
        if matches!(octet, b'/' | 0) {
            return Err(Malformed("the path has an encoded slash or NUL"));
        }
        name.push(octet);
    }
    Ok(name)
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    let value = char::from(*digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let check = |raw: &str, relative: &str, location: &str| {
            let path = Path::parse(raw.as_bytes()).expect(raw);
            assert_eq!(path.relative(), relative.as_bytes(), "{raw}");
            assert_eq!(path.with_slash(), location, "{raw}");
        };
        check("/", ".", "/");
        check("/a/b", "a/b", "/a/b/");
        check("//evil.com/%2e%2e.", "evil.com/...", "/evil.com/.../");
        check("/a%20b;c=%C3%A9/", "a b;c=é", "/a%20b%3Bc%3D%C3%A9/");
        check("/..%5C..%5Cx%0Ay", "..\\..\\x\ny", "/..%5C..%5Cx%0Ay/");
        for raw in [
            "/../x",
            "/a/%2e%2E/x",
            "/.",
            "/a%2fb",
            "/%00",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
        ] {
            assert!(Path::parse(raw.as_bytes()).is_err(), "{raw}");
        }
        let hidden = |raw: &str| Path::parse(raw.as_bytes()).expect(raw).is_hidden();
        assert!(hidden("/.git/config") && hidden("/a/.env"));
        assert!(!hidden("/.well-known/security.txt") && !hidden("/a.b"));
    }
}
