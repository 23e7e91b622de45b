//! The status page's tables: hosts, recent requests, and what is in the cache.

use chrono::SecondsFormat;

use super::status::{Cached, Exchange, Host, Snapshot, State, grouped, percent};
use crate::duration;
use crate::measure::size;
use crate::web::page::html;

const HOSTS_SHOWN_MAX: usize = 10;
const EXCHANGES_SHOWN_MAX: usize = 50;
/// A page with more of them is slow to load; a search finds the others.
const CACHED_SHOWN_MAX: usize = 100;
/// A URL may have thousands of characters, and the first ones tell what it is.
const URL_CHARACTERS_MAX: usize = 240;

pub(super) fn hosts(hosts: &[Host]) -> String {
    let rows: String = hosts.iter().take(HOSTS_SHOWN_MAX).map(host).collect();
    let headings = ["Host", "Requests", "Hits", "Hit ratio", "Octets"];
    let table = table(&headings, &rows, "No requests yet.");
    section("hosts", "<h2>Hosts</h2>", &table)
}

pub(super) fn recent(exchanges: &[Exchange]) -> String {
    let shown = exchanges.iter().take(EXCHANGES_SHOWN_MAX);
    let rows: String = shown.map(exchange).collect();
    let headings = [
        "URL", "Time", "Client", "Method", "Status", "Cache", "Octets", "Took",
    ];
    let table = table(&headings, &rows, "No requests yet.");
    // With a tab stop, so that the keys can scroll it.
    let table = format!(
        "<div class=\"scrolling\" tabindex=\"0\" role=\"region\" aria-label=\"Recent requests\">\n{table}</div>\n"
    );
    section("recent", "<h2>Recent requests</h2>", &table)
}

pub(super) fn cache(snapshot: &Snapshot) -> String {
    let wanted = snapshot.query.to_ascii_lowercase();
    let found = snapshot.cached.iter();
    let found: Vec<&Cached> = found
        .filter(|cached| cached.url.to_ascii_lowercase().contains(&wanted))
        .collect();
    let shown = found.iter().take(CACHED_SHOWN_MAX);
    let rows: String = shown.map(|one| cached(one, snapshot.may_purge)).collect();
    let headings = ["URL", "Status", "State", "Age", "Octets", "Uses", ""];
    let columns = headings.len() - usize::from(!snapshot.may_purge);
    let empty = match snapshot.cached.is_empty() {
        true => "Nothing is stored yet.",
        false => "Nothing in the cache has this in its URL.",
    };
    let mut table = table(&headings[..columns], &rows, empty);
    if found.len() > CACHED_SHOWN_MAX {
        let more = grouped((found.len() - CACHED_SHOWN_MAX) as u64);
        table += &format!("<p class=\"quiet\">{more} more; a search finds them.</p>\n");
    }
    section("cache", &cache_header(snapshot, found.len()), &table)
}

/// What stands above the table: how much it is, the search, and the button for all of it.
fn cache_header(snapshot: &Snapshot, found: usize) -> String {
    let count = grouped(snapshot.cached.len() as u64);
    let octets = size::human(snapshot.cache_octets);
    let octets_max = size::human(snapshot.cache_octets_max);
    let found = match snapshot.query.is_empty() {
        true => String::new(),
        false => format!("{} of ", grouped(found as u64)),
    };
    let query = attribute(&snapshot.query);
    let refresh = match snapshot.refreshes {
        true => r#"<input type="hidden" name="refresh">"#,
        false => "",
    };
    let purge = match snapshot.may_purge && !snapshot.cached.is_empty() {
        true => format!(
            r#"<details><summary>Purge all</summary><form method="post" action="/-/cache/purge"><input type="hidden" name="all" value="yes"><button>Yes, purge all {count}</button></form></details>"#
        ),
        false => String::new(),
    };
    format!(
        r##"<div>
<h2>Cache</h2>
<p class="quiet">{found}{count} stored, {octets} of {octets_max}</p>
</div>
<form class="search" action="#cache">{refresh}<input type="search" name="q" value="{query}" placeholder="Part of a URL" aria-label="Part of a URL" autocomplete="off" spellcheck="false"><button>Search</button></form>{purge}"##
    )
}

fn section(id: &str, header: &str, table: &str) -> String {
    format!("<section id=\"{id}\">\n<header>\n{header}\n</header>\n{table}</section>\n")
}

fn table(headings: &[&str], rows: &str, empty: &str) -> String {
    if rows.is_empty() {
        return format!("<p class=\"empty\">{empty}</p>\n");
    }
    let headings: String = headings
        .iter()
        .map(|heading| format!("<th>{heading}</th>"))
        .collect();
    format!("<table>\n<thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

fn host(host: &Host) -> String {
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        shown(&host.host),
        grouped(host.requests),
        grouped(host.hits),
        percent(host.hits, host.requests),
        size::human(host.octets),
    )
}

fn exchange(exchange: &Exchange) -> String {
    let exact = exchange.time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let time = exchange.time.format("%H:%M:%S");
    let (status, class) = match exchange.status {
        Some(status @ 400..) => (status.to_string(), r#" class="bad""#),
        Some(status) => (status.to_string(), ""),
        None => ("–".to_owned(), ""),
    };
    let result = html(exchange.result.as_bytes());
    let result_class = match exchange.result {
        "hit" => r#" class="good""#,
        _ => "",
    };
    format!(
        "<tr><td>{}</td><td><time datetime=\"{exact}\">{time}</time></td><td>{}</td><td>{}</td><td{class}>{status}</td><td{result_class}>{result}</td><td>{}</td><td>{}</td></tr>\n",
        shown(&exchange.url),
        shown(&exchange.client),
        shown(&exchange.method),
        size::human(exchange.octets),
        duration::human(exchange.took),
    )
}

fn cached(cached: &Cached, may_purge: bool) -> String {
    let state = match cached.state {
        State::Fresh => r#"<td class="good">fresh</td>"#,
        State::Stale => "<td>stale</td>",
    };
    let purge = match may_purge {
        true => format!(
            r#"<td><form method="post" action="/-/cache/purge"><input type="hidden" name="url" value="{}"><button>Purge</button></form></td>"#,
            attribute(&cached.url)
        ),
        false => String::new(),
    };
    format!(
        "<tr><td>{}</td><td>{}</td>{state}<td>{}</td><td>{}</td><td>{}</td>{purge}</tr>\n",
        shown(&cached.url),
        cached.status,
        duration::human(cached.age),
        size::human(cached.octets),
        grouped(cached.uses),
    )
}

/// As HTML, and cut where it is too long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(URL_CHARACTERS_MAX) {
        Some((end, _)) => html(&text.as_bytes()[..end]) + "…",
        None => html(text.as_bytes()),
    }
}

/// Inside an attribute's quotes. It is sent back and not read, so every character stays.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use proptest::prelude::*;

    use super::super::status::tests::idle;
    use super::*;

    fn one(url: &str) -> Cached {
        Cached {
            url: url.to_owned(),
            status: 200,
            octets: 1536,
            age: Duration::from_secs(75),
            state: State::Fresh,
            uses: 1234,
        }
    }

    fn search(urls: &[&str], query: &str, may_purge: bool) -> String {
        cache(&Snapshot {
            cached: urls.iter().map(|url| one(url)).collect(),
            query: query.to_owned(),
            may_purge,
            ..idle()
        })
    }

    #[test]
    fn hosts_and_their_figures() {
        let host = Host {
            host: "example.com".to_owned(),
            requests: 1000,
            hits: 250,
            octets: 2048,
        };
        assert_eq!(
            hosts(&vec![host; HOSTS_SHOWN_MAX + 1]).matches("<tr><td>example.com</td><td>1,000</td><td>250</td><td>25.0 %</td><td>2.0 KiB</td></tr>\n").count(),
            HOSTS_SHOWN_MAX
        );
    }

    #[test]
    fn recent_requests() {
        let time = DateTime::parse_from_rfc3339("2026-11-21T09:12:40+01:00");
        let hit = Exchange {
            time: time.expect("a time"),
            client: "::1".to_owned(),
            method: "GET".to_owned(),
            url: "http://example.com/".to_owned(),
            status: Some(200),
            result: "hit",
            octets: 1536,
            took: Duration::from_micros(870),
        };
        let left = Exchange {
            method: "<b>".to_owned(),
            url: "\"<\x1b".to_owned(),
            status: None,
            result: "miss",
            ..hit.clone()
        };
        let failed = Exchange {
            url: "é".repeat(URL_CHARACTERS_MAX + 1),
            status: Some(502),
            ..left.clone()
        };
        let page = recent(&[hit, left, failed]);
        let time =
            r#"<td><time datetime="2026-11-21T09:12:40+01:00">09:12:40</time></td><td>::1</td>"#;
        let end = "<td>1.5 KiB</td><td>870 µs</td></tr>\n";
        for expected in [
            format!(
                r#"<tr><td>http://example.com/</td>{time}<td>GET</td><td>200</td><td class="good">hit</td>{end}"#
            ),
            format!(
                r#"<tr><td>&quot;&lt;<i>\x1b</i></td>{time}<td>&lt;b&gt;</td><td>–</td><td>miss</td>{end}"#
            ),
            format!(
                r#"<tr><td>{}…</td>{time}<td>&lt;b&gt;</td><td class="bad">502</td>"#,
                "é".repeat(URL_CHARACTERS_MAX)
            ),
        ] {
            assert!(page.contains(&expected), "no {expected} in {page}");
        }
    }

    #[test]
    fn what_is_stored_can_be_purged() {
        let url = "http://example.com/?a=\"<b>&c='d'";
        let shown = "http://example.com/?a=&quot;&lt;b&gt;&amp;c='d'";
        let sent = "http://example.com/?a=&quot;&lt;b>&amp;c='d'";
        let facts = format!(
            r#"<tr><td>{shown}</td><td>200</td><td class="good">fresh</td><td>1 m 15 s</td><td>1.5 KiB</td><td>1,234</td>"#
        );
        let form = format!(
            r#"<td><form method="post" action="/-/cache/purge"><input type="hidden" name="url" value="{sent}"><button>Purge</button></form></td></tr>"#
        );
        let page = search(&[url], "", true);
        assert!(page.contains(&format!("{facts}{form}\n")), "{page}");
        assert!(page.contains("Yes, purge all 1</button>"), "{page}");
        let page = search(&[url], "", false);
        assert!(page.contains(&format!("{facts}</tr>\n")), "{page}");
        assert!(!page.contains("post") && !page.contains("urge"), "{page}");
        assert!(!search(&[], "", true).contains("post"));
    }

    #[test]
    fn a_search_leaves_out_the_rest() {
        let urls = ["http://a.example/Photo", "http://b.example/"];
        let page = search(&urls, "a.EXAMPLE/photo", false);
        assert!(page.contains("a.example") && !page.contains("b.example"));
        assert!(
            page.contains(r#"<p class="quiet">1 of 2 stored, "#),
            "{page}"
        );
        let page = search(&urls, "\"><b", false);
        assert!(
            page.contains(r#" name="q" value="&quot;>&lt;b" "#),
            "{page}"
        );
        assert!(page.contains("Nothing in the cache has this in its URL."));
        assert!(search(&[], "", false).contains("Nothing is stored yet."));
    }

    #[test]
    fn a_long_table_is_cut() {
        let urls = vec!["http://example.com/"; CACHED_SHOWN_MAX + 1];
        assert!(
            search(&urls, "", false)
                .contains("<p class=\"quiet\">1 more; a search finds them.</p>")
        );
        let page = search(&urls[1..], "", false);
        assert_eq!(page.matches("<tr><td>").count(), CACHED_SHOWN_MAX);
        assert!(!page.contains("more"));
    }

    proptest! {
        #[test]
        fn no_url_is_markup(url in ".*[\"<>&].*") {
            let page = search(&[&url], &url, true);
            let escapes = page.matches("<i>").count() * 2;
            let plain = search(&["http://example.com/"], "e", true);
            let tags = plain.matches('<').count();
            prop_assert_eq!(page.matches('<').count(), tags + escapes);
            prop_assert_eq!(page.matches('"').count(), plain.matches('"').count());
        }
    }
}
