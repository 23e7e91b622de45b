//! The command line of `proxy`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueHint};

use ipnet::IpNet;

use super::destination::{CONNECT_PORTS_DEFAULT, PortRange};
use super::faults::{self, Rule};
use super::host::{HostPattern, parse_network};
use super::parents::Parent;
use super::rewrite::Forwarded;
use super::target::Site;
use crate::duration;
use crate::measure::size;
use crate::web::access::Format;
use crate::web::credentials::parse_user;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Where to serve; 0 takes a free port
    #[arg(short, long, value_name = "PORT", default_value = "8888")]
    pub(super) port: u16,
    /// The address to serve on; beyond loopback --allow or --auth says for whom
    #[arg(short, long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    pub(super) bind: IpAddr,
    /// Keep responses in this folder; else in ./cache where there is one, else in the user's
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) cache: Option<PathBuf>,
    /// Keep nothing
    #[arg(long, conflicts_with_all = ["cache", "offline"])]
    pub(super) no_cache: bool,
    /// Octets the folder may have
    #[arg(long, value_name = "OCTETS", default_value = "1G", value_parser = size::parse)]
    pub(super) cache_size: u64,
    /// Answer from the cache alone, also with what is stale
    #[arg(long)]
    pub(super) offline: bool,
    /// Clients that may use it beside this machine, like 192.168.1.0/24; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = parse_network)]
    pub(super) allow: Vec<IpNet>,
    /// Ask for this user's password, which is in NSH_PROXY_PASSWORD or --password-file, or is
    /// asked for
    #[arg(long, value_name = "USER", value_parser = parse_user)]
    pub(super) auth: Option<String>,
    /// The first line of this file is the password
    #[arg(long, value_name = "FILE", requires = "auth", value_hint = ValueHint::FilePath)]
    pub(super) password_file: Option<PathBuf>,
    /// Ports that CONNECT may lead to, like 443,8000-8999
    #[arg(long, value_name = "PORTS", default_value = CONNECT_PORTS_DEFAULT, value_delimiter = ',', value_parser = PortRange::parse)]
    pub(super) connect_ports: Vec<PortRange>,
    /// Destinations on private and link-local networks for all, and on this machine
    #[arg(long)]
    pub(super) allow_private: bool,
    /// Refuse this destination: a host, *.example.com, or a network; may be given several times
    #[arg(long, value_name = "HOST", value_parser = HostPattern::parse)]
    pub(super) deny: Vec<HostPattern>,
    /// Tell origins who asks
    #[arg(long, value_enum, value_name = "KIND", num_args = 0..=1, default_missing_value = "standard", require_equals = true)]
    pub(super) forwarded: Option<Forwarded>,
    /// Ask this proxy instead of the origins, http://HOST:PORT or socks5://HOST:PORT; with
    /// USER:PASSWORD@ before the host where it wants that
    #[arg(long, value_name = "URL", value_parser = Parent::parse)]
    pub(super) upstream: Option<Parent>,
    /// Be the reverse proxy of this one site
    #[arg(long, value_name = "URL", value_parser = super::target::parse_site, conflicts_with = "upstream")]
    pub(super) origin: Option<Site>,
    /// Heed CDN-Cache-Control as a content delivery network does
    #[arg(long, requires = "origin")]
    pub(super) cdn: bool,
    /// Answer late, as a host far away does; may be given several times
    #[arg(long, value_name = "[HOST=]SPAN", value_parser = faults::parse_delay)]
    pub(super) delay: Vec<Rule<Duration>>,
    /// Octets a second for each exchange, as over a slow line; they are kept out of the cache
    #[arg(long, value_name = "[HOST=]OCTETS", value_parser = faults::parse_rate)]
    pub(super) rate: Vec<Rule<u64>>,
    /// Break off so many exchanges
    #[arg(long, value_name = "[HOST=]PERCENT%", value_parser = faults::parse_drop)]
    pub(super) drop: Vec<Rule<f64>>,
    /// For finding an origin and connecting to it
    #[arg(long, value_name = "SPAN", default_value = "4.9", value_parser = duration::parse)]
    pub(super) connect_timeout: Duration,
    /// For the head of its answer, from the request's beginning
    #[arg(long, value_name = "SPAN", default_value = "4.9", value_parser = duration::parse)]
    pub(super) answer_timeout: Duration,
    /// For a request's head, from its first octet
    #[arg(long, value_name = "SPAN", default_value = "10", value_parser = duration::parse)]
    pub(super) header_timeout: Duration,
    /// For a connection's next request
    #[arg(long, value_name = "SPAN", default_value = "60", value_parser = duration::parse)]
    pub(super) idle_timeout: Duration,
    /// For a side that neither sends nor takes anything in the middle of a message
    #[arg(long, value_name = "SPAN", default_value = "60", value_parser = duration::parse)]
    pub(super) stall_timeout: Duration,
    /// Connections at a time; more are answered with 503
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) max_connections: u32,
    /// Connections of one address at a time, but for this machine's own; 0 sets no limit
    #[arg(long, value_name = "N", default_value = "256")]
    pub(super) max_per_client: u32,
    /// Exchanges and busy tunnels at a time; more wait
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u16).range(4..=8192))]
    pub(super) threads: u16,
    /// How long answers may go on when the proxy is stopped
    #[arg(long, value_name = "SPAN", default_value = "1.5", value_parser = duration::parse)]
    pub(super) grace: Duration,
    /// Append the access log to this file
    #[arg(long, id = "access_log", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) log: Option<PathBuf>,
    /// How a request is logged in the file
    #[arg(long, value_enum, default_value = "common")]
    pub(super) log_format: Format,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Look into the cache of a proxy that runs on this machine
    #[command(subcommand)]
    Cache(Cache),
}

#[derive(Subcommand)]
pub(super) enum Cache {
    /// What it keeps
    List {
        #[command(flatten)]
        place: Place,
    },
    /// What it keeps for a URL, with the fields
    Show {
        url: String,
        #[command(flatten)]
        place: Place,
    },
    /// Why a request for a URL would be answered from the cache, or not
    Why {
        url: String,
        /// A field of that request; may be given several times
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        fields: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Forget what PATTERN matches, in which * is anything; 'all' is everything
    Purge {
        pattern: String,
        #[command(flatten)]
        place: Place,
    },
    /// Read everything, and remove what is damaged
    Verify {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(clap::Args)]
pub(super) struct Place {
    /// The proxy's port
    #[arg(short, long, value_name = "PORT", default_value = "8888")]
    pub(super) port: u16,
    /// The proxy's address
    #[arg(short, long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    pub(super) bind: IpAddr,
    /// The user that the proxy asks for
    #[arg(long, value_name = "USER", value_parser = parse_user)]
    pub(super) auth: Option<String>,
    /// The first line of this file is the password
    #[arg(long, value_name = "FILE", requires = "auth", value_hint = ValueHint::FilePath)]
    pub(super) password_file: Option<PathBuf>,
}
