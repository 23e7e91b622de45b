//! Certificates and keys in files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use native_tls::{Certificate, Identity};

use super::reason;
use crate::cause;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {}: {}", .file.display(), cause::of(.error))]
    Read { file: PathBuf, error: io::Error },
    #[error("cannot use {}: {why}", .file.display())]
    Authorities { file: PathBuf, why: String },
    #[error(
        "cannot use {} with {}: {why}; both are PEM, and the key is PKCS #8 without a password \
         (BEGIN PRIVATE KEY), which 'openssl pkcs8 -topk8 -nocrypt' makes of others",
        .chain.display(),
        .key.display()
    )]
    Pem {
        chain: PathBuf,
        key: PathBuf,
        why: String,
    },
    #[error("cannot use {}: {why}{}", .file.display(), pkcs12_advice(.why))]
    Pkcs12 { file: PathBuf, why: String },
}

fn pkcs12_advice(why: &str) -> &'static str {
    match why.contains("mac verify") {
        true => ": the password is wrong",
        false => "; 'openssl pkcs12 -export' makes such files",
    }
}

/// All certificates of a PEM file; at least one.
pub(crate) fn authorities(file: &Path) -> Result<Vec<Certificate>, Error> {
    let cannot = |why: String| Error::Authorities {
        file: file.to_owned(),
        why,
    };
    let text = fs::read(file).map_err(|error| cannot(cause::of(&error)))?;
    let stack = Certificate::stack_from_pem(&text);
    let authorities = stack.map_err(|error| cannot(error.to_string()))?;
    match authorities.is_empty() {
        true => Err(cannot(
            "it has no certificate (BEGIN CERTIFICATE)".to_owned(),
        )),
        false => Ok(authorities),
    }
}

/// A certificate with those of its issuers, and its key.
pub(crate) fn pem(chain: &Path, key: &Path) -> Result<Identity, Error> {
    let (chain_octets, key_octets) = (read(chain)?, read(key)?);
    Identity::from_pkcs8(&chain_octets, &key_octets).map_err(|error| Error::Pem {
        chain: chain.to_owned(),
        key: key.to_owned(),
        why: reason(&error.to_string()),
    })
}

pub(crate) fn pkcs12(file: &Path, octets: &[u8], password: &str) -> Result<Identity, Error> {
    Identity::from_pkcs12(octets, password).map_err(|error| Error::Pkcs12 {
        file: file.to_owned(),
        why: reason(&error.to_string()),
    })
}

/// A file that is there is worth asking for its password.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| Error::Read {
        file: file.to_owned(),
        error,
    })
}
