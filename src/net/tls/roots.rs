//! The system's authorities, as far as they have to be read.
//!
//! For each connection the TLS library reads the file that has all of them, which takes several
//! times as long as the handshake. On most systems a folder has the same, each called by a hash of
//! its name, and there the library finds those of a chain by itself. So the file is kept from it,
//! and read once, for what no folder has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use memchr::memmem;
use native_tls::Certificate;
use openssl_probe::ProbeResult;

const VARIABLE: &str = "SSL_CERT_FILE";
/// A file without certificates that is there.
const NOTHING: &str = "/dev/null";
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

static WITHHELD: OnceLock<ProbeResult> = OnceLock::new();
static OUTSIDE_FOLDERS: OnceLock<Vec<Certificate>> = OnceLock::new();

/// Keeps the system's file from the library, but not one that somebody has named. Only before
/// there are threads.
pub(crate) fn withhold() {
    // Elsewhere it may be another library.
    if cfg!(target_os = "linux")
        && env::var_os(VARIABLE).is_none()
        && WITHHELD.set(openssl_probe::probe()).is_ok()
    {
        set_variable();
    }
}

#[expect(unsafe_code, reason = "the library can be told in no other way")]
fn set_variable() {
    // SAFETY: there is no other thread yet that could read the environment meanwhile.
    unsafe { env::set_var(VARIABLE, NOTHING) }
}

/// To a program that nsh starts.
pub(crate) fn give_back(command: &mut Command) -> &mut Command {
    match WITHHELD.get() {
        Some(_) => command.env_remove(VARIABLE),
        None => command,
    }
}

/// Those that the library does not find by itself.
pub(super) fn outside_folders() -> &'static [Certificate] {
    OUTSIDE_FOLDERS.get_or_init(|| match WITHHELD.get() {
        Some(ProbeResult {
            cert_file: Some(file),
            cert_dir: folders,
        }) => outside(file, folders)
            .iter()
            .filter_map(|octets| Certificate::from_pem(octets).ok())
            .collect(),
        Some(_) | None => Vec::new(),
    })
}

fn outside(file: &Path, folders: &[PathBuf]) -> Vec<Vec<u8>> {
    let all = fs::read(file).unwrap_or_default();
    let mut outside: BTreeSet<&[u8]> = bodies(&all).collect();
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    for entry in entries.flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_hash) {
            let octets = fs::read(entry.path()).unwrap_or_default();
            bodies(&octets).for_each(|body| {
                outside.remove(body);
            });
        }
    }
    let pem = |body: &[u8]| [BEGIN, body, END, b"\n"].concat();
    outside.into_iter().map(pem).collect()
}

/// `4042bcee.0`, as `openssl rehash` names its links.
fn is_hash(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, number)| {
        hash.len() == 8
            && hash.bytes().all(|octet| octet.is_ascii_hexdigit())
            && number.parse::<u32>().is_ok()
    })
}

/// What is between the first and the last line of each certificate in a PEM file.
fn bodies(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    memmem::find_iter(octets, BEGIN).filter_map(|at| {
        let begun = octets.get(at + BEGIN.len()..)?;
        begun.get(..memmem::find(begun, END)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> Vec<u8> {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n").into()
    }

    #[test]
    fn only_what_no_folder_has_under_a_hash_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let write = |name, octets: &[u8]| fs::write(scratch.path().join(name), octets).unwrap();
        write("4042bcee.0", &pem("found"));
        write("4042bcee.1", &pem("found, too"));
        write("4042bcee.r0", &pem("a revocation list"));
        write("corporate.crt", &pem("without a hash"));
        // In this order, which says nothing.
        let expected = ["a revocation list", "nowhere else", "without a hash"];
        let bodies = ["found", expected[0], "found, too", expected[1], expected[2]];
        let named = |body: &&str| [b"# Its name\n".as_slice(), &pem(body)].concat();
        let all: Vec<Vec<u8>> = bodies.iter().map(named).collect();
        write("all.pem", &all.concat());
        let (file, folders) = (scratch.path().join("all.pem"), [scratch.path().to_owned()]);
        assert_eq!(outside(&file, &folders), expected.map(pem));
        assert_eq!(outside(&file, &[]).len(), bodies.len());
        assert!(outside(Path::new("/nowhere"), &folders).is_empty());
    }
}
