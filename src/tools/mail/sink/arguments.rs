//! The options of `mail --sink`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use native_tls::TlsAcceptor;

use crate::measure::size;
use crate::tool::Error;
use crate::web::certificate;

/// With these nothing is caught, and clap does not ask for `--sink` beside what excludes it.
const SENDING: [&str; 3] = ["server", "mx", "route"];

#[derive(Args)]
// The outer one has the group of this name.
#[group(skip)]
#[command(next_help_heading = "Options of --sink")]
pub(in crate::tools::mail) struct Arguments {
    /// Where to catch mail; 0 takes a free port
    #[arg(
        short,
        long,
        value_name = "PORT",
        default_value = "2525",
        requires = "sink", conflicts_with_all = SENDING
    )]
    pub(super) port: u16,
    /// The address to catch mail on; 0.0.0.0 and :: are all of this machine's
    #[arg(short, long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into(), requires = "sink", conflicts_with_all = SENDING)]
    pub(super) bind: IpAddr,
    /// Where messages are kept, each as an .eml file; it is made where it is missing
    #[arg(long, value_name = "DIR", default_value = "sink", requires = "sink", conflicts_with_all = SENDING, value_hint = ValueHint::DirPath)]
    folder: PathBuf,
    /// Show messages without keeping them
    #[arg(long, requires = "sink", conflicts_with_all = ["folder", "server", "mx", "route"])]
    pub(super) no_keep: bool,
    /// Offer STARTTLS with this certificate chain (PEM) and --tls-key
    #[arg(long, value_name = "FILE", requires_all = ["sink", "tls_key"], conflicts_with_all = SENDING, value_hint = ValueHint::FilePath)]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    tls_key: Option<PathBuf>,
    /// Begin with TLS instead of offering it (RFC 8314)
    #[arg(long, requires = "tls_cert")]
    pub(super) implicit_tls: bool,
    /// Octets of a message
    #[arg(long, value_name = "OCTETS", default_value = "25M", requires = "sink", conflicts_with_all = SENDING, value_parser = parse_octets)]
    pub(super) max_size: usize,
    /// Show what clients (C:) and the server (S:) say, without passwords
    #[arg(short, long, requires = "sink", conflicts_with_all = SENDING)]
    pub(super) verbose: bool,
}

impl Arguments {
    pub(super) fn folder(&self) -> Option<&Path> {
        (!self.no_keep).then_some(&*self.folder)
    }

    pub(super) fn acceptor(&self) -> Result<Option<TlsAcceptor>, Error> {
        let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        certificate::acceptor(&certificate::pem(chain, key)?).map(Some)
    }
}

fn parse_octets(text: &str) -> Result<usize, &'static str> {
    usize::try_from(size::parse(text)?).map_err(|_| "more than this machine can have")
}
