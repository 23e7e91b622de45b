//! The command line of `serve`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueHint};

use super::site::{parse_cache, parse_cookie, parse_field, parse_media_type};
use crate::duration;
use crate::measure::size::parse as parse_octets;
use crate::web::access::Format;
use crate::web::credentials::parse_user;

#[derive(Parser)]
pub(super) struct Arguments {
    /// The folder to serve, or one file; else ./www where there is one, else this folder
    #[arg(value_hint = ValueHint::AnyPath)]
    dir: Option<PathBuf>,
    /// Where to serve; 0 takes a free port
    #[arg(short, long, value_name = "PORT", default_value = "8080")]
    pub(super) port: u16,
    /// The address to serve on; 0.0.0.0 and :: are all of this machine's
    #[arg(short, long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    pub(super) bind: IpAddr,
    /// Show a QR code of the address for a phone
    #[arg(long)]
    pub(super) qr: bool,
    /// The file that stands for its folder; may be given several times
    #[arg(long, value_name = "NAME", default_values = ["index.html", "index.htm"])]
    pub(super) index: Vec<String>,
    /// Folders without such a file are not listed
    #[arg(long)]
    pub(super) no_listing: bool,
    /// Serve names that begin with a dot too
    #[arg(long)]
    pub(super) hidden: bool,
    /// The media type of an extension
    #[arg(long, value_name = "EXT=TYPE", value_parser = parse_media_type)]
    pub(super) mime: Vec<(String, String)>,
    /// Answer /index.html where nothing is found, for applications that route in the browser
    #[arg(long)]
    pub(super) spa: bool,
    /// /about means /about.html
    #[arg(long)]
    pub(super) pretty: bool,
    /// Compress text with gzip (files beside it with .zst, .br and .gz are used in any case)
    #[arg(long)]
    pub(super) compress: bool,
    /// Serve HTTPS with this certificate chain (PEM) and --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub(super) tls_key: Option<PathBuf>,
    /// The same in one PKCS #12 file; its password is in NSH_TLS_PASSWORD, or is asked for
    #[arg(long, value_name = "FILE", conflicts_with = "tls_cert", value_hint = ValueHint::FilePath)]
    pub(super) tls_p12: Option<PathBuf>,
    /// Ask for this user's password, which is in NSH_SERVE_PASSWORD or --password-file, or is
    /// asked for
    #[arg(long, value_name = "USER", value_parser = parse_user)]
    pub(super) auth: Option<String>,
    /// The first line of this file is the password
    #[arg(long, value_name = "FILE", requires = "auth", value_hint = ValueHint::FilePath)]
    pub(super) password_file: Option<PathBuf>,
    /// Pages of ORIGIN, or of any with *, may read the answers
    #[arg(long, value_name = "ORIGIN", num_args = 0..=1, default_missing_value = "*", require_equals = true, value_parser = parse_origin)]
    pub(super) cors: Option<String>,
    /// A field for every answer; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_field)]
    pub(super) header: Vec<(String, String)>,
    /// How long clients may keep what GLOB names, like '*.css=3600'; may be given several times
    #[arg(long, value_name = "GLOB=SECONDS", value_parser = parse_cache)]
    pub(super) cache: Vec<(glob::Pattern, u64)>,
    /// Pages may load only what this server has, and may not be framed
    #[arg(long)]
    pub(super) secure: bool,
    /// Count visits in this cookie
    #[arg(long, value_name = "NAME", value_parser = parse_cookie)]
    pub(super) cookie: Option<String>,
    /// Answer to this host name too; without it, only to localhost when bound to loopback
    #[arg(long, value_name = "NAME")]
    pub(super) allow_host: Vec<String>,
    /// Connections at a time; more are answered with 503
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_count)]
    pub(super) max_connections: usize,
    /// Connections of one address at a time, but for this machine's own; 0 sets no limit
    #[arg(long, value_name = "N", default_value = "256")]
    pub(super) max_per_client: usize,
    /// Octets of a request's head
    #[arg(long, value_name = "OCTETS", default_value = "32K", value_parser = parse_head_octets)]
    pub(super) max_header: usize,
    /// Octets of a request's body
    #[arg(long, value_name = "OCTETS", default_value = "1M", value_parser = parse_octets)]
    pub(super) max_body: u64,
    /// For a request's head, from its first octet
    #[arg(long, value_name = "SPAN", default_value = "10", value_parser = duration::parse)]
    pub(super) header_timeout: Duration,
    /// For a connection's next request
    #[arg(long, value_name = "SPAN", default_value = "60", value_parser = duration::parse)]
    pub(super) idle_timeout: Duration,
    /// For a client that takes nothing of its answer
    #[arg(long, value_name = "SPAN", default_value = "30", value_parser = duration::parse)]
    pub(super) write_timeout: Duration,
    /// Octets a second for each connection, like 100K
    #[arg(long, value_name = "OCTETS", value_parser = parse_octets)]
    pub(super) rate: Option<u64>,
    /// How long answers may go on when the server is stopped
    #[arg(long, value_name = "SPAN", default_value = "1.5", value_parser = duration::parse)]
    pub(super) grace: Duration,
    /// Append the access log to this file
    #[arg(long, id = "access_log", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) log: Option<PathBuf>,
    /// How a request is logged
    #[arg(long, value_enum, default_value = "common")]
    pub(super) log_format: Format,
    /// Show whole request heads
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Serve counters at /-/metrics
    #[arg(long)]
    pub(super) metrics: bool,
    /// Send back the body of POST and PUT, and at /echo the request's head
    #[arg(long)]
    pub(super) echo: bool,
    /// Event loops; as many as processors without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) threads: Option<u16>,
}

impl Arguments {
    pub(super) fn folder(&self) -> PathBuf {
        let standard = || {
            let www = PathBuf::from("www");
            if www.is_dir() { www } else { ".".into() }
        };
        self.dir.clone().unwrap_or_else(standard)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls_cert.is_some() || self.tls_p12.is_some()
    }
}

fn parse_origin(text: &str) -> Result<String, &'static str> {
    let is_origin = text.contains("://") && !text.ends_with('/');
    match (text == "*" || is_origin) && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("an origin looks like https://example.com, without a path"),
    }
}

fn parse_count(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("a number from 1 to 1,000,000"),
    }
}

fn parse_head_octets(text: &str) -> Result<usize, &'static str> {
    const MIN: u64 = 1 << 10;
    const MAX: u64 = 1 << 20;
    match parse_octets(text)? {
        octets @ MIN..=MAX => usize::try_from(octets).map_err(|_| "too large"),
        _ => Err("from 1K to 1M"),
    }
}
