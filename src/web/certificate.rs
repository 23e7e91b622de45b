//! A server's certificate with its key, tried before anybody connects.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use native_tls::{Identity, Protocol, TlsAcceptor, TlsConnector};
use zeroize::Zeroizing;

use super::credentials;
use crate::cause;
use crate::net::tls::{self, files};
use crate::tool::{Context, Error};

pub(crate) fn acceptor(identity: Identity) -> Result<TlsAcceptor, Error> {
    let acceptor = TlsAcceptor::builder(identity)
        .min_protocol_version(Some(Protocol::Tlsv12))
        .build()
        .map_err(|error| Error::Usage(format!("cannot use the certificate: {error}")))?;
    try_handshake(&acceptor)?;
    Ok(acceptor)
}

pub(crate) fn pem(chain: &Path, key: &Path) -> Result<Identity, Error> {
    files::pem(chain, key).map_err(unusable)
}

pub(crate) fn pkcs12(context: &Context, file: &Path) -> Result<Identity, Error> {
    let octets = files::read(file).map_err(unusable)?;
    let password = match std::env::var("NSH_TLS_PASSWORD") {
        Ok(password) => Zeroizing::new(password),
        Err(_) => {
            let prompt = "Password of the PKCS #12 file: ";
            credentials::ask(context, prompt, "set NSH_TLS_PASSWORD")?
        }
    };
    files::pkcs12(file, &octets, &password).map_err(unusable)
}

fn unusable(error: files::Error) -> Error {
    Error::Usage(error.to_string())
}

/// A key that does not belong to its certificate shows only when somebody connects.
fn try_handshake(acceptor: &TlsAcceptor) -> Result<(), Error> {
    let cannot =
        |why: String| Error::Usage(format!("the certificate and the key do not work: {why}"));
    let (ours, theirs) = UnixStream::pair().map_err(|error| cannot(cause::of(&error)))?;
    let mut client = TlsConnector::builder();
    client.danger_accept_invalid_certs(true);
    client.danger_accept_invalid_hostnames(true);
    let client = client.build().map_err(|error| cannot(error.to_string()))?;
    let connecting = thread::spawn(move || client.connect("localhost", theirs).is_ok());
    let accepted = acceptor.accept(ours);
    // The client gives up once our end is gone.
    let failed = accepted.err().map(|error| tls::reason(&error.to_string()));
    let _ = connecting.join();
    match failed {
        None => Ok(()),
        Some(why) => Err(cannot(format!("{why}; do they belong together?"))),
    }
}
