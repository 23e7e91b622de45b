//! The status page: what the proxy did, does, and keeps.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{chart, tables};
use crate::duration;
use crate::measure::size;
use crate::web::page::{self, html};

const REFRESH_SECONDS: u64 = 5;

#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// `127.0.0.1:8888`
    pub(crate) listens_on: String,
    pub(crate) uptime: Duration,
    pub(crate) open_connections: u64,
    pub(crate) open_tunnels: u64,
    pub(crate) requests: u64,
    /// Requests that the cache answered.
    pub(crate) hits: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) octets_to_clients: u64,
    /// Sent to clients and not fetched from origins.
    pub(crate) octets_saved: u64,
    /// The newest last.
    pub(crate) buckets: Vec<Bucket>,
    /// How long each of them lasts.
    pub(crate) bucket_span: Duration,
    /// The newest first.
    pub(crate) recent: Vec<Exchange>,
    /// The busiest first.
    pub(crate) hosts: Vec<Host>,
    /// All of them; those that `query` does not match are not shown.
    pub(crate) cached: Vec<Cached>,
    pub(crate) cache_octets: u64,
    pub(crate) cache_octets_max: u64,
    /// Part of a URL; empty for all.
    pub(crate) query: String,
    /// The page loads itself again and again.
    pub(crate) refreshes: bool,
    /// The person may remove what is stored.
    pub(crate) may_purge: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
}

impl Bucket {
    /// Counters that are read one after the other may disagree by a little.
    pub(super) fn hits(&self) -> u64 {
        self.hits.min(self.requests)
    }
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) time: DateTime<FixedOffset>,
    pub(crate) client: String,
    pub(crate) method: String,
    /// `host:port` for CONNECT.
    pub(crate) url: String,
    /// `None`: the client left before there was one.
    pub(crate) status: Option<u16>,
    /// What the cache did: `hit`, `miss`, `validated`.
    pub(crate) result: &'static str,
    pub(crate) octets: u64,
    pub(crate) took: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) host: String,
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    pub(crate) octets: u64,
}

/// A stored response.
#[derive(Debug, Clone)]
pub(crate) struct Cached {
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) octets: u64,
    pub(crate) age: Duration,
    pub(crate) state: State,
    pub(crate) uses: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum State {
    Fresh,
    Stale,
}

pub(crate) fn page(snapshot: &Snapshot) -> String {
    let title = format!("Proxy on {}", snapshot.listens_on);
    let mut page = page::start(&title, include_str!("status.css"));
    if snapshot.refreshes {
        let refresh =
            format!("<meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">\n</head>");
        page = page.replacen("</head>", &refresh, 1);
    }
    page += &header(snapshot);
    page += "<main>\n";
    page += &figures(snapshot);
    page += &chart::charts(&snapshot.buckets, snapshot.bucket_span);
    page += &tables::hosts(&snapshot.hosts);
    page += &tables::recent(&snapshot.recent);
    page += &tables::cache(snapshot);
    page += "</main>\n";
    page + page::END
}

fn header(snapshot: &Snapshot) -> String {
    let listens_on = html(snapshot.listens_on.as_bytes());
    let uptime = duration::human(snapshot.uptime);
    let query = utf8_percent_encode(&snapshot.query, NON_ALPHANUMERIC);
    let refresh = match snapshot.refreshes {
        true => format!(r#"<a href="?q={query}">Stop refreshing</a>"#),
        false => {
            format!(r#"<a href="?q={query}&amp;refresh">Refresh every {REFRESH_SECONDS} s</a>"#)
        }
    };
    format!(
        r#"<header class="top">
<div>
<h1>Proxy on {listens_on}</h1>
<p class="quiet">Up for {uptime}</p>
</div>
<nav>{refresh}<a href="/-/setup">Set up</a><a href="/proxy.pac">PAC file</a><a href="/-/metrics">Metrics</a></nav>
</header>
"#
    )
}

fn figures(snapshot: &Snapshot) -> String {
    let rate = match snapshot.requests_per_second {
        rate if rate < 9.95 => format!("{rate:.1} per second"),
        rate => format!("{} per second", grouped(rate.round() as u64)),
    };
    let figures = [
        ("Requests", grouped(snapshot.requests), rate),
        (
            "Hit ratio",
            percent(snapshot.hits, snapshot.requests),
            plural(snapshot.hits, "hit"),
        ),
        (
            "Sent to clients",
            size::human(snapshot.octets_to_clients),
            format!("{} saved by the cache", size::human(snapshot.octets_saved)),
        ),
        (
            "Open connections",
            grouped(snapshot.open_connections),
            plural(snapshot.open_tunnels, "tunnel"),
        ),
    ];
    let figures: String = figures
        .iter()
        .map(|(name, figure, more)| {
            format!("<div><dt>{name}</dt><dd>{figure}</dd><dd class=\"quiet\">{more}</dd></div>\n")
        })
        .collect();
    format!("<dl>\n{figures}</dl>\n")
}

/// `1,234,567`
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn plural(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", grouped(count)),
    }
}

/// `64.2 %`, and nothing of nothing is not a number.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "–".to_owned(),
        _ => format!("{:.1} %", part.min(whole) as f64 * 100.0 / whole as f64),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a proxy shows that was just started.
    pub(in crate::tools::proxy::pages) fn idle() -> Snapshot {
        Snapshot {
            listens_on: "127.0.0.1:8888".to_owned(),
            uptime: Duration::from_secs(320),
            open_connections: 1,
            open_tunnels: 0,
            requests: 0,
            hits: 0,
            requests_per_second: 0.0,
            octets_to_clients: 0,
            octets_saved: 0,
            buckets: Vec::new(),
            bucket_span: Duration::from_secs(60),
            recent: Vec::new(),
            hosts: Vec::new(),
            cached: Vec::new(),
            cache_octets: 0,
            cache_octets_max: 1 << 30,
            query: String::new(),
            refreshes: false,
            may_purge: true,
        }
    }

    #[track_caller]
    fn check(snapshot: &Snapshot, expected: &[&str]) {
        let page = page(snapshot);
        for expected in expected {
            assert!(page.contains(expected), "no {expected} in {page}");
        }
    }

    #[test]
    fn a_proxy_that_was_just_started() {
        let page = page(&idle());
        let (_, body) = page.split_once("<body>\n").expect("a body");
        assert_eq!(
            body,
            r##"<header class="top">
<div>
<h1>Proxy on 127.0.0.1:8888</h1>
<p class="quiet">Up for 5 m 20 s</p>
</div>
<nav><a href="?q=&amp;refresh">Refresh every 5 s</a><a href="/-/setup">Set up</a><a href="/proxy.pac">PAC file</a><a href="/-/metrics">Metrics</a></nav>
</header>
<main>
<dl>
<div><dt>Requests</dt><dd>0</dd><dd class="quiet">0.0 per second</dd></div>
<div><dt>Hit ratio</dt><dd>–</dd><dd class="quiet">0 hits</dd></div>
<div><dt>Sent to clients</dt><dd>0 B</dd><dd class="quiet">0 B saved by the cache</dd></div>
<div><dt>Open connections</dt><dd>1</dd><dd class="quiet">0 tunnels</dd></div>
</dl>
<div class="charts">
<figure>
<figcaption><h2>Requests</h2><p class="quiet">none</p></figcaption>
<svg viewBox="0 0 60 100" preserveAspectRatio="none" role="img" aria-label="Requests over time">
</svg>
<p class="axis"><span>1 h 0 m ago</span><span>now</span></p>
</figure>
<figure>
<figcaption><h2>Hit ratio</h2><p class="quiet">–</p></figcaption>
<svg viewBox="0 0 60 100" preserveAspectRatio="none" role="img" aria-label="Hit ratio over time">
<path class="line" d=""/>
</svg>
<p class="axis"><span>1 h 0 m ago</span><span>now</span></p>
</figure>
</div>
<section id="hosts">
<header>
<h2>Hosts</h2>
</header>
<p class="empty">No requests yet.</p>
</section>
<section id="recent">
<header>
<h2>Recent requests</h2>
</header>
<div class="scrolling" tabindex="0" role="region" aria-label="Recent requests">
<p class="empty">No requests yet.</p>
</div>
</section>
<section id="cache">
<header>
<div>
<h2>Cache</h2>
<p class="quiet">0 stored, 0 B of 1.0 GiB</p>
</div>
<form class="search" action="#cache"><input type="search" name="q" value="" placeholder="Part of a URL" aria-label="Part of a URL" autocomplete="off" spellcheck="false"><button>Search</button></form>
</header>
<p class="empty">Nothing is stored yet.</p>
</section>
</main>
</body>
</html>
"##
        );
    }

    #[test]
    fn a_busy_proxy() {
        let busy = Snapshot {
            requests: 12_345,
            hits: 12_345,
            requests_per_second: 1234.4,
            octets_to_clients: 3 << 20,
            octets_saved: 1 << 20,
            open_tunnels: 1,
            ..idle()
        };
        check(
            &busy,
            &[
                r#"<dt>Requests</dt><dd>12,345</dd><dd class="quiet">1,234 per second</dd>"#,
                r#"<dt>Hit ratio</dt><dd>100.0 %</dd><dd class="quiet">12,345 hits</dd>"#,
                r#"<dd>3.0 MiB</dd><dd class="quiet">1.0 MiB saved by the cache</dd>"#,
                r#"<dt>Open connections</dt><dd>1</dd><dd class="quiet">1 tunnel</dd>"#,
            ],
        );
    }

    #[test]
    fn the_page_refreshes_itself_only_when_asked() {
        let meta = r#"<meta http-equiv="refresh" content="5">"#;
        assert!(!page(&idle()).contains(meta));
        let refreshing = Snapshot {
            refreshes: true,
            query: "a&b \"c".to_owned(),
            ..idle()
        };
        check(
            &refreshing,
            &[
                &format!("{meta}\n</head>"),
                r#"<a href="?q=a%26b%20%22c">Stop refreshing</a>"#,
                r#"<input type="hidden" name="refresh">"#,
            ],
        );
    }

    #[test]
    fn nothing_is_loaded_and_nothing_runs() {
        let page = page(&idle());
        for forbidden in [
            "<script", "<link", "<img", "url(", "@import", "style=", "://",
        ] {
            assert!(!page.contains(forbidden), "{forbidden} in {page}");
        }
    }
}
