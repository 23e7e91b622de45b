//! The server's certificate.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use native_tls::{Identity, Protocol, TlsAcceptor, TlsConnector};

use super::arguments::Arguments;
use crate::cause;
use crate::net::tls;
use crate::tool::{Context, Error};

pub(super) fn acceptor(
    context: &Context,
    arguments: &Arguments,
) -> Result<Option<Arc<TlsAcceptor>>, Error> {
    let identity = match (&arguments.tls_cert, &arguments.tls_key, &arguments.tls_p12) {
        (Some(chain), Some(key), _) => pem(chain, key)?,
        (_, _, Some(file)) => pkcs12(context, file)?,
        _ => return Ok(None),
    };
    let acceptor = TlsAcceptor::builder(identity)
        .min_protocol_version(Some(Protocol::Tlsv12))
        .build()
        .map_err(|error| Error::Usage(format!("cannot use the certificate: {error}")))?;
    try_handshake(&acceptor)?;
    Ok(Some(Arc::new(acceptor)))
}

fn pem(chain: &Path, key: &Path) -> Result<Identity, Error> {
    let (chain_octets, key_octets) = (read(chain)?, read(key)?);
    Identity::from_pkcs8(&chain_octets, &key_octets).map_err(|error| {
        let why = tls::reason(&error.to_string());
        Error::Usage(format!(
            "cannot use {} with {}: {why}; both are PEM, and the key is PKCS #8 without a \
             password (BEGIN PRIVATE KEY), which 'openssl pkcs8 -topk8 -nocrypt' makes of others",
            chain.display(),
            key.display()
        ))
    })
}

fn pkcs12(context: &Context, file: &Path) -> Result<Identity, Error> {
    let octets = read(file)?;
    let password = match std::env::var("NSH_TLS_PASSWORD") {
        Ok(password) => password,
        Err(_) => {
            let prompt = "Password of the PKCS #12 file: ";
            ask(context, prompt, "set NSH_TLS_PASSWORD")?
        }
    };
    Identity::from_pkcs12(&octets, &password).map_err(|error| {
        let why = tls::reason(&error.to_string());
        let hint = match why.contains("mac verify") {
            true => ": the password is wrong",
            false => "; 'openssl pkcs12 -export' makes such files",
        };
        Error::Usage(format!("cannot use {}: {why}{hint}", file.display()))
    })
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

/// Of `--auth`.
pub(super) fn password(context: &Context, arguments: &Arguments) -> Result<Option<String>, Error> {
    if arguments.auth.is_none() {
        return Ok(None);
    }
    if let Some(file) = &arguments.password_file {
        let octets = read(file)?;
        let text = String::from_utf8(octets)
            .map_err(|_| Error::Usage(format!("{} is not UTF-8", file.display())))?;
        let line = text.lines().next().unwrap_or_default();
        return match line.is_empty() {
            true => Err(Error::Usage(format!(
                "{} begins with an empty line",
                file.display()
            ))),
            false => Ok(Some(line.to_owned())),
        };
    }
    match std::env::var("NSH_SERVE_PASSWORD") {
        Ok(password) if !password.is_empty() => Ok(Some(password)),
        _ => {
            let instead = "set NSH_SERVE_PASSWORD or give --password-file";
            ask(context, "Password for visitors: ", instead).map(Some)
        }
    }
}

fn ask(context: &Context, prompt: &str, instead: &str) -> Result<String, Error> {
    let answer = context.input.ask(&context.cancel, prompt, true, instead)?;
    let given = answer.filter(|answer| !answer.is_empty());
    given.ok_or_else(|| Error::Usage(format!("no password; {instead}")))
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| {
        let why = cause::of(&error);
        Error::Usage(format!("cannot read {}: {why}", file.display()))
    })
}
