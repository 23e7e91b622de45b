//! Why a connection has no TLS.

use super::dane;
use crate::net::tls::client;
use crate::net::tls::pin::Pin;

#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Tls(#[from] client::Error),
    #[error(transparent)]
    Dane(dane::Verdict),
}

impl Broken {
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Broken::Tls(error) => is_temporary(error),
            // Certificates are renewed, and so are their records.
            Broken::Dane(_) => true,
        }
    }
}

/// How a certificate can be believed all the same.
pub(super) fn advice(error: &client::Error) -> String {
    let client::Error::Refused(refusal) = error else {
        return String::new();
    };
    let key = match &refusal.certificate {
        Some(certificate) => Pin::of(&certificate.public_key_info).to_string(),
        None => "SHA256".to_owned(),
    };
    match refusal.verdict.is_about_issuer() {
        true => format!(
            "; --ca FILE names whom to believe, --pin {key} this key alone, once you have checked it"
        ),
        false => format!("; --pin {key} believes this key alone, once you have checked it"),
    }
}

/// What a later attempt may find mended.
pub(super) fn is_temporary(error: &client::Error) -> bool {
    matches!(error, client::Error::Net(_))
}
