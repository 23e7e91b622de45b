//! Whom to believe, and whether a chain of certificates leads there.
//!
//! On most systems all authorities are in one file, and also in a folder, each called by a hash of
//! its name, where OpenSSL finds those of a chain by itself. To read the file takes several times
//! as long as a handshake. So it is read where the folder did not do.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::{env, fs};

use openssl::error::ErrorStack;
use openssl::ssl::{SslFiletype, SslRef, SslVerifyMode};
use openssl::stack::{Stack, StackRef};
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags, X509VerifyParam, X509VerifyParamRef};
use openssl::x509::{X509, X509PurposeId, X509StoreContext, X509StoreContextRef};

use super::refusal::{Refusal, Verdict};
use super::{Notes, lock, reason};
use crate::wire::certificate::Certificate;

/// OpenSSL's default since 3.2, and that of Debian before: keys as good as RSA with 2048 bits, and
/// no signatures by SHA-1.
pub(super) const SECURITY_LEVEL: i32 = 2;

/// Where those are whom everybody on this machine believes.
static FOLDERS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| match env::var_os("SSL_CERT_DIR") {
    Some(folders) => env::split_paths(&folders).collect(),
    None => openssl_probe::probe().cert_dir,
});

/// Those in the file.
static FILE: LazyLock<Vec<X509>> = LazyLock::new(|| {
    let file = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let file = file.or_else(|| openssl_probe::probe().cert_file);
    let octets = file.and_then(|file| fs::read(file).ok());
    let certificates = octets.and_then(|octets| X509::stack_from_pem(&octets).ok());
    certificates.unwrap_or_default()
});

/// Whom to believe.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    /// Beside those of the system.
    pub(crate) authorities: Vec<X509>,
    pub(crate) scrutiny: Scrutiny,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Scrutiny {
    /// Nobody else is spoken to.
    #[default]
    Strict,
    /// Whoever answers, but what there is to say against the certificate is kept.
    Curious,
    /// Whoever answers.
    None,
}

impl Trust {
    /// Of the server in this handshake.
    pub(super) fn ask(
        &self,
        ssl: &mut SslRef,
        host: &str,
        notes: &Arc<Mutex<Notes>>,
    ) -> Result<(), ErrorStack> {
        if self.scrutiny == Scrutiny::None {
            ssl.set_verify(SslVerifyMode::NONE);
            return Ok(());
        }
        expect_name(ssl.param_mut(), host)?;
        ssl.set_verify_cert_store(self.store()?.build())?;
        let (trust, host, notes) = (self.clone(), host.to_owned(), Arc::clone(notes));
        let is_refused = OnceLock::new();
        ssl.set_verify_callback(SslVerifyMode::PEER, move |is_fine, context| {
            let look_again = || {
                let refusal = trust.look_again(context, &host);
                lock(&notes).refusal = refusal;
                lock(&notes).refusal.is_some()
            };
            is_fine || !is_refused.get_or_init(look_again) || trust.scrutiny == Scrutiny::Curious
        });
        Ok(())
    }

    /// At the first objection of the library. With the file there may be none: it may have the
    /// issuer, or a better one of the same name.
    fn look_again(&self, context: &X509StoreContextRef, host: &str) -> Option<Box<Refusal>> {
        let shown = context.chain();
        let verdict = match (verdict(context), shown) {
            (Verdict::WrongHost, _) => Verdict::WrongHost,
            (_, Some(shown)) => self.verify_with_file(shown, host).err()?,
            (verdict, None) => verdict,
        };
        let leaf = shown.and_then(|shown| shown.get(0)?.to_der().ok());
        Some(Box::new(Refusal {
            host: host.to_owned(),
            verdict,
            certificate: leaf.and_then(|leaf| Certificate::parse(&leaf).ok()),
        }))
    }

    fn verify_with_file(&self, shown: &StackRef<X509>, host: &str) -> Result<(), Verdict> {
        let mut store = self.store()?;
        for authority in FILE.iter() {
            store.add_cert(authority.clone())?;
        }
        verify(shown, store, host, X509VerifyFlags::empty())
    }

    /// Without the file.
    fn store(&self) -> Result<X509StoreBuilder, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for authority in &self.authorities {
            store.add_cert(authority.clone())?;
        }
        let lookup = store.add_lookup(X509Lookup::hash_dir())?;
        for folder in FOLDERS.iter().filter_map(|folder| folder.to_str()) {
            lookup.add_dir(folder, SslFiletype::PEM)?;
        }
        Ok(store)
    }
}

/// Whether a chain, the server's own certificate first, leads to one of the anchors, roots or not,
/// and is for one of the names. Everything is in DER.
pub(crate) fn leads_to(
    anchors: &[Vec<u8>],
    chain: &[Vec<u8>],
    names: &[String],
) -> Result<(), Verdict> {
    let mut shown = Stack::new()?;
    for certificate in chain {
        shown.push(X509::from_der(certificate)?)?;
    }
    for name in names {
        let mut store = X509StoreBuilder::new()?;
        for anchor in anchors {
            // What is in DNS may be anything.
            if let Ok(anchor) = X509::from_der(anchor) {
                store.add_cert(anchor)?;
            }
        }
        match verify(&shown, store, name, X509VerifyFlags::PARTIAL_CHAIN) {
            Err(Verdict::WrongHost) => {}
            verified => return verified,
        }
    }
    Err(Verdict::WrongHost)
}

fn verify(
    shown: &StackRef<X509>,
    mut store: X509StoreBuilder,
    name: &str,
    flags: X509VerifyFlags,
) -> Result<(), Verdict> {
    let mut param = X509VerifyParam::new()?;
    expect_name(&mut param, name)?;
    param.set_purpose(X509PurposeId::SSL_SERVER)?;
    param.set_flags(flags)?;
    param.set_auth_level(SECURITY_LEVEL);
    store.set_param(&param)?;
    let store = store.build();
    let leaf = shown.get(0).ok_or(Verdict::UnknownIssuer)?;
    let verified = X509StoreContext::new()?.init(&store, leaf, shown, |context| {
        Ok(match context.verify_cert()? {
            true => Ok(()),
            false => Err(verdict(context)),
        })
    });
    // What is left there would be taken for the connection's.
    let _ = ErrorStack::get();
    verified?
}

fn verdict(context: &X509StoreContextRef) -> Verdict {
    Verdict::of(context.error().error_string(), context.error_depth())
}

fn expect_name(param: &mut X509VerifyParamRef, host: &str) -> Result<(), ErrorStack> {
    // OpenSSL would take these for any name, and for any below this one.
    if host.is_empty() || host.starts_with('.') {
        return Err(ErrorStack::get());
    }
    param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
    match host.parse::<IpAddr>() {
        Ok(address) => param.set_ip(address),
        Err(_) => param.set_host(host),
    }
}

impl From<ErrorStack> for Verdict {
    fn from(error: ErrorStack) -> Verdict {
        Verdict::Other(reason(&error.to_string()))
    }
}
