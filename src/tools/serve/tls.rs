//! The server's certificate.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use native_tls::{Identity, Protocol, TlsAcceptor};

use super::arguments::Arguments;
use crate::cause;
use crate::tool::{Context, Error};

pub(super) fn acceptor(
    context: &Context,
    arguments: &Arguments,
) -> Result<Option<Arc<TlsAcceptor>>, Error> {
    let identity =
        if let Some((chain, key)) = arguments.tls_cert.as_ref().zip(arguments.tls_key.as_ref()) {
            let (octets, key_octets) = (read(chain)?, read(key)?);
            Identity::from_pkcs8(&octets, &key_octets).map_err(|error| {
                Error::Usage(format!(
                    "cannot use {} with {}: {error}; both are PEM, and the key is PKCS #8 (BEGIN \
                 PRIVATE KEY), which 'openssl pkcs8 -topk8 -nodes' makes of others",
                    chain.display(),
                    key.display()
                ))
            })?
        } else if let Some(file) = &arguments.tls_p12 {
            let octets = read(file)?;
            let password = match std::env::var("NSH_TLS_PASSWORD") {
                Ok(password) => password,
                Err(_) => ask(
                    context,
                    "Password of the PKCS #12 file: ",
                    "set NSH_TLS_PASSWORD",
                )?,
            };
            Identity::from_pkcs12(&octets, &password)
                .map_err(|error| Error::Usage(format!("cannot use {}: {error}", file.display())))?
        } else {
            return Ok(None);
        };
    let acceptor = TlsAcceptor::builder(identity)
        .min_protocol_version(Some(Protocol::Tlsv12))
        .build()
        .map_err(|error| Error::Usage(format!("cannot use the certificate: {error}")))?;
    Ok(Some(Arc::new(acceptor)))
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
