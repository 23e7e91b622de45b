//! Where commands come from, and where in it something stands.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cause;
use crate::tool::Error;

/// Larger scripts are something else.
const SCRIPT_OCTETS_MAX: u64 = 64 << 20;
/// A longer line is not a script's.
pub(super) const LINE_OCTETS_MAX: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// As errors show it: `scripts/lab5.nsh`, `-c`, `stdin`, `nsh`.
    pub(crate) name: String,
    /// With `\n` as the only line end.
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// The number of the text's first line.
    pub(crate) first_line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Canonical, so that a script that sources itself is found out.
    File(PathBuf),
    Stdin,
    CommandLine,
    Prompt,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str, origin: Origin, first_line: usize) -> Source {
        Source {
            name: name.to_owned(),
            text: text.replace("\r\n", "\n").trim_end_matches('\r').to_owned(),
            origin,
            first_line,
        }
    }

    pub(crate) fn open(path: &Path) -> Result<Source, Error> {
        let name = path.display().to_string();
        let cannot = |why: &dyn std::fmt::Display| {
            Error::Usage(format!("cannot read script '{name}': {why}"))
        };
        let file = File::open(path).map_err(|error| cannot(&cause::of(&error)))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(cannot(&"it is a directory; name a file in it"));
        }
        let mut octets = Vec::new();
        file.take(SCRIPT_OCTETS_MAX + 1)
            .read_to_end(&mut octets)
            .map_err(|error| cannot(&cause::of(&error)))?;
        if octets.len() as u64 > SCRIPT_OCTETS_MAX {
            return Err(cannot(&"it is larger than 64 MiB"));
        }
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let text = decode(&octets, &name, 1)?;
        Ok(Source::new(&name, text, Origin::File(canonical), 1))
    }

    /// `file:line:column`, in characters from 1.
    pub(crate) fn position(&self, offset: usize) -> String {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = self.first_line + before.matches('\n').count();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = 1 + before[start..].chars().count();
        format!("{}:{line}:{column}", self.name)
    }

    /// Whether its errors bear a position even when it is plain which command they are of.
    pub(crate) fn is_script(&self) -> bool {
        matches!(self.origin, Origin::File(_) | Origin::Stdin)
    }
}

/// UTF-8 without NUL and without endless lines; a byte order mark is dropped.
pub(super) fn decode<'a>(
    octets: &'a [u8],
    name: &str,
    first_line: usize,
) -> Result<&'a str, Error> {
    let refuse = |offset: usize, what: &str| {
        let line = first_line
            + octets[..offset]
                .iter()
                .filter(|octet| **octet == b'\n')
                .count();
        Error::Usage(format!("{name}:{line}: {what}"))
    };
    if let Some(offset) = octets.iter().position(|octet| *octet == 0) {
        return Err(refuse(offset, "a NUL octet; this is not a script"));
    }
    let mut start = 0;
    for line in octets.split(|octet| *octet == b'\n') {
        if line.len() > LINE_OCTETS_MAX {
            return Err(refuse(
                start,
                "the line is longer than 1 MiB; this is not a script",
            ));
        }
        start += line.len() + 1;
    }
    let text = std::str::from_utf8(octets)
        .map_err(|error| refuse(error.valid_up_to(), "not UTF-8; save the script as UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let source = Source::new("a.nsh", "echo é $X\r\n  ping\n", Origin::Stdin, 1);
        let at = |text| source.position(source.text.find(text).expect(text));
        assert_eq!(at("$X"), "a.nsh:1:8");
        assert_eq!(at("ping"), "a.nsh:2:3");
    }

    #[test]
    fn what_is_no_script_is_named_with_its_line() {
        let check = |octets: &[u8], wanted: &str| {
            let error = decode(octets, "x", 1).expect_err("refused");
            assert_eq!(error.to_string(), wanted);
        };
        check(
            b"echo a\n\x7fELF\0\0",
            "x:2: a NUL octet; this is not a script",
        );
        check(b"a\nb\n\xff", "x:3: not UTF-8; save the script as UTF-8");
        let long = [b"a\n".as_slice(), &[b'x'; 10 << 20]].concat();
        check(
            &long,
            "x:2: the line is longer than 1 MiB; this is not a script",
        );
        assert_eq!(decode(b"\xef\xbb\xbfecho", "x", 1), Ok("echo"));
    }
}
