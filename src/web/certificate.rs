//! A server's certificate with its key.

use std::path::Path;

use native_tls::TlsAcceptor;
use zeroize::Zeroizing;

use super::credentials;
use crate::net::tls::files::{self, Identity};
use crate::tool::{Context, Error};

pub(crate) fn acceptor(identity: &Identity) -> Result<TlsAcceptor, Error> {
    let acceptor = identity.acceptor();
    acceptor.map_err(|error| Error::Usage(format!("cannot use the certificate: {error}")))
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
