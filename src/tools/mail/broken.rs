//! Why a connection has no TLS.

use super::dane;
use crate::net::tls::client;

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

/// What a later attempt may find mended.
pub(super) fn is_temporary(error: &client::Error) -> bool {
    matches!(error, client::Error::Net(_))
}
