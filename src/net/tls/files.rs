//! Certificates and keys in files.

use std::io;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use native_tls::{Protocol, TlsAcceptor};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use zeroize::Zeroizing;

use super::reason;
use crate::cause;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {}: {}", .file.display(), cause::of(.error))]
    Read { file: PathBuf, error: io::Error },
    #[error("cannot use {}: {why}", .file.display())]
    Certificates { file: PathBuf, why: String },
    #[error(
        "cannot use {}: {why}; a key is PEM without a password, which 'openssl pkey' makes of \
         others",
        .file.display()
    )]
    Key { file: PathBuf, why: String },
    #[error("{} is not the key of {}", .key.display(), .chain.display())]
    Mismatch { chain: PathBuf, key: PathBuf },
    #[error("cannot use {}: {why}{}", .file.display(), pkcs12_advice(.why))]
    Pkcs12 { file: PathBuf, why: String },
}

fn pkcs12_advice(why: &str) -> &'static str {
    match why.contains("mac verify") {
        true => ": the password is wrong",
        false => "; 'openssl pkcs12 -export' makes such files",
    }
}

/// A certificate with those of its issuers, and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(super) certificate: X509,
    pub(super) issuers: Vec<X509>,
    pub(super) key: PKey<Private>,
}

impl Identity {
    /// For a server that is this. RFC 8996 has done away with what is older than TLS 1.2.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, native_tls::Error> {
        let pem = |certificate: &X509| certificate.to_pem().unwrap_or_default();
        let chain = iter::once(&self.certificate).chain(&self.issuers);
        let chain: Vec<u8> = chain.flat_map(pem).collect();
        let key = self.key.private_key_to_pem_pkcs8();
        let key = Zeroizing::new(key.unwrap_or_default());
        let identity = native_tls::Identity::from_pkcs8(&chain, &key)?;
        TlsAcceptor::builder(identity)
            .min_protocol_version(Some(Protocol::Tlsv12))
            .build()
    }

    /// Otherwise it would show only when somebody connects.
    fn fits(&self) -> bool {
        let public_key = self.certificate.public_key();
        public_key.is_ok_and(|public_key| public_key.public_eq(&self.key))
    }
}

/// All certificates of a PEM file; at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<X509>, Error> {
    let octets = read(file)?;
    let cannot = |why: String| Error::Certificates {
        file: file.to_owned(),
        why,
    };
    let certificates = X509::stack_from_pem(&octets);
    let certificates = certificates.map_err(|error| cannot(reason(&error.to_string())))?;
    match certificates.is_empty() {
        true => Err(cannot(
            "it has no certificate (BEGIN CERTIFICATE)".to_owned(),
        )),
        false => Ok(certificates),
    }
}

pub(crate) fn pem(chain: &Path, key: &Path) -> Result<Identity, Error> {
    let mut certificates = certificates(chain)?;
    let octets = Zeroizing::new(read(key)?);
    // Without a callback OpenSSL would ask for the password itself.
    let parsed = PKey::private_key_from_pem_callback(&octets, |_| Ok(0));
    let identity = Identity {
        certificate: certificates.remove(0),
        issuers: certificates,
        key: parsed.map_err(|error| Error::Key {
            file: key.to_owned(),
            why: reason(&error.to_string()),
        })?,
    };
    match identity.fits() {
        true => Ok(identity),
        false => Err(Error::Mismatch {
            chain: chain.to_owned(),
            key: key.to_owned(),
        }),
    }
}

pub(crate) fn pkcs12(file: &Path, octets: &[u8], password: &str) -> Result<Identity, Error> {
    let cannot = |why: &str| Error::Pkcs12 {
        file: file.to_owned(),
        why: why.to_owned(),
    };
    if password.contains('\0') {
        return Err(cannot("no password has a NUL"));
    }
    let parsed = Pkcs12::from_der(octets).and_then(|parsed| parsed.parse2(password));
    let parsed = parsed.map_err(|error| cannot(&reason(&error.to_string())))?;
    match (parsed.cert, parsed.pkey) {
        (Some(certificate), Some(key)) => Ok(Identity {
            certificate,
            issuers: parsed.ca.into_iter().flatten().collect(),
            key,
        }),
        _ => Err(cannot("it has no certificate with its key")),
    }
}

/// A file that is there is worth asking for its password.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| Error::Read {
        file: file.to_owned(),
        error,
    })
}
