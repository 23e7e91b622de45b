//! A key that two sides share, from a file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cause;
use crate::tool::Error;
use crate::wire::mac::Key;

/// Shorter ones can be guessed.
const OCTETS_MIN: usize = 16;
const OCTETS_MAX: usize = 4096;

/// The file's octets without the end of the line; behind `hex:`, hexadecimal digits.
pub(super) fn read(path: &Path) -> Result<Key, Error> {
    let shown = path.display();
    let cannot =
        |error: std::io::Error| Error::Usage(format!("cannot read {shown}: {}", cause::of(&error)));
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    // Who may read a device or a pipe is not for us to say.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        let text = format!("others may read {shown}; 'chmod 600 {shown}' keeps the key a secret");
        return Err(Error::NotPermitted(text));
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(OCTETS_MAX + 1));
    File::open(path)
        .and_then(|file| file.take(OCTETS_MAX as u64 + 1).read_to_end(&mut octets))
        .map_err(cannot)?;
    if octets.len() > OCTETS_MAX {
        return Err(Error::Usage(format!("{shown} is too long for a key")));
    }
    let octets = octets.trim_ascii_end();
    let key = match octets.strip_prefix(b"hex:") {
        Some(digits) => decode(digits)
            .ok_or_else(|| Error::Usage(format!("{shown} has no hexadecimal digits in pairs")))?,
        None => octets.to_vec(),
    };
    if key.len() < OCTETS_MIN {
        return Err(Error::Usage(format!(
            "the key in {shown} has {} octets, and fewer than {OCTETS_MIN} can be guessed; \
             'openssl rand -hex 32' makes one",
            key.len()
        )));
    }
    Ok(Key::new(&key))
}

fn decode(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    let mut pairs = digits.chunks_exact(2);
    let octets = pairs
        .by_ref()
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
    let octets = octets.collect::<Option<Vec<u8>>>()?;
    pairs.remainder().is_empty().then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(decode(b"00fF10"), Some(vec![0, 255, 16]));
        assert_eq!(decode(b"0"), None);
        assert_eq!(decode(b"0g"), None);
    }
}
