//! Listings of a folder as HTML, JSON and plain text.
//!
//! They are written in pieces, so that a folder of a million entries takes no memory.

pub(super) mod entry;
mod table;

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::output::Printable;
use entry::{Entry, Kind, Order, Totals};

#[derive(Clone, Copy)]
pub(crate) enum Format {
    Html,
    Json,
    Text,
}

pub(crate) struct Listing {
    /// Decoded: "/" or "/a/b/".
    path: Vec<u8>,
    format: Format,
    /// `None`: too many entries to sort, so they come in the folder's own order.
    order: Option<Order>,
    totals: Totals,
}

pub(crate) fn content_type(format: Format) -> &'static str {
    match format {
        Format::Html => "text/html; charset=utf-8",
        Format::Json => "application/json",
        Format::Text => "text/plain; charset=utf-8",
    }
}

/// For every page that the server writes itself: nothing runs in it but our own script.
pub(crate) fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = STANDARD.encode(Sha256::digest(table::SCRIPT));
        format!(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; \
             img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

impl Listing {
    pub(crate) fn new(path: Vec<u8>, format: Format, order: Option<Order>) -> Listing {
        let totals = Totals::default();
        Listing {
            path,
            format,
            order,
            totals,
        }
    }

    pub(crate) fn start(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Html => out.extend(table::start(&self.path, self.order).into_bytes()),
            Format::Json => out.push(b'['),
            Format::Text => {}
        }
    }

    /// Any number of times, each with any number of entries.
    pub(crate) fn entries(&mut self, entries: &[Entry], out: &mut Vec<u8>) {
        for entry in entries {
            let is_first = self.totals.count() == 0;
            match self.format {
                Format::Html => {
                    if is_first {
                        out.extend(table::head(&self.path, self.order).into_bytes());
                    }
                    out.extend(table::row(entry).into_bytes());
                }
                Format::Json => {
                    out.extend(if is_first { b"\n".as_slice() } else { b",\n" });
                    out.extend(json(entry));
                }
                Format::Text => {
                    out.extend(Printable(&entry.name).to_string().into_bytes());
                    out.extend(entry.slash().as_bytes());
                    out.push(b'\n');
                }
            }
            self.totals.add(entry);
        }
    }

    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Html if self.totals.count() == 0 => {
                out.extend(table::empty(&self.path).into_bytes())
            }
            Format::Html => out.extend(table::end(&self.totals).into_bytes()),
            Format::Json => out.extend(b"\n]\n"),
            Format::Text => {}
        }
    }
}

fn json(entry: &Entry) -> Vec<u8> {
    #[derive(Serialize)]
    struct Row {
        name: String,
        r#type: &'static str,
        href: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        modified: Option<String>,
    }
    let (r#type, size) = match entry.kind {
        Kind::Folder => ("folder", None),
        Kind::File => ("file", Some(entry.size)),
        Kind::Other => ("other", None),
    };
    let modified = entry.modified();
    let row = Row {
        name: String::from_utf8_lossy(&entry.name).into_owned(),
        r#type,
        href: entry.href(),
        size,
        modified: modified.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)),
    };
    // Strings and numbers can always be written.
    serde_json::to_vec(&row).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::entry::Column;
    use super::*;

    const ORDER: Option<Order> = Some(Order {
        by: Column::Name,
        descending: false,
    });

    fn entry(kind: Kind, name: &[u8]) -> Entry {
        let modified = UNIX_EPOCH.checked_add(Duration::from_secs(1_795_240_470));
        let name = name.to_vec();
        Entry {
            name,
            kind,
            size: 12,
            modified,
        }
    }

    fn render(path: &[u8], format: Format, pieces: &[&[Entry]]) -> String {
        let mut listing = Listing::new(path.to_vec(), format, ORDER);
        let mut out = Vec::new();
        listing.start(&mut out);
        for piece in pieces {
            listing.entries(piece, &mut out);
        }
        listing.end(&mut out);
        String::from_utf8(out).expect("listings are UTF-8")
    }

    /// The link of a file, its name as HTML, and its name as text.
    #[track_caller]
    fn check(name: &[u8], href: &str, html: &str, text: &str) {
        let entries = [entry(Kind::File, name)];
        let page = render(b"/", Format::Html, &[&entries]);
        let link = format!(r#"<td><a class="file" href="{href}">{html}</a></td>"#);
        assert!(page.contains(&link), "{page}");
        assert_eq!(render(b"/", Format::Text, &[&entries]), format!("{text}\n"));
        let json = render(b"/", Format::Json, &[&entries]);
        let json: serde_json::Value = serde_json::from_str(&json).expect("listings are JSON");
        assert_eq!(json[0]["name"], *String::from_utf8_lossy(name));
        assert_eq!(json[0]["href"], href);
    }

    #[test]
    fn odd_names_are_only_names() {
        check(
            b"<img src=x onerror=alert(1)>.txt",
            "./%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E.txt",
            "&lt;img src=x onerror=alert(1)&gt;.txt",
            "<img src=x onerror=alert(1)>.txt",
        );
        check(
            b"a b&c#d?e%f.txt",
            "./a%20b%26c%23d%3Fe%25f.txt",
            "a b&amp;c#d?e%f.txt",
            "a b&c#d?e%f.txt",
        );
        check(
            b"\"one\" 'two'",
            "./%22one%22%20%27two%27",
            "&quot;one&quot; 'two'",
            "\"one\" 'two'",
        );
        check(
            b"javascript:alert(1)",
            "./javascript%3Aalert%281%29",
            "javascript:alert(1)",
            "javascript:alert(1)",
        );
        check(b"//evil", "./%2F%2Fevil", "//evil", "//evil");
        check(b"1\n2", "./1%0A2", r"1<i>\n</i>2", r"1\n2");
        check(b"caf\xe9", "./caf%E9", r"caf<i>\xe9</i>", r"caf\xe9");
        check(
            "\u{202e}fdp.exe\u{85}".as_bytes(),
            "./%E2%80%AEfdp.exe%C2%85",
            r"<i>\u{202e}</i>fdp.exe<i>\u{85}</i>",
            r"\u{202e}fdp.exe\u{85}",
        );
    }

    #[test]
    fn odd_folders_lead_up_and_down() {
        let folders = [entry(Kind::Folder, b"c\"")];
        let page = render(b"/a b/<b>/", Format::Html, &[&folders]);
        for expected in [
            "<title>Index of /a b/&lt;b&gt;/</title>",
            r#"<h1><a href="./../../">/</a><wbr><a href="./../">a b/</a><wbr>"#,
            r#"<a href="./" aria-current="page">&lt;b&gt;/</a>"#,
            r#"<a class="up" href="../">..</a>"#,
            r#"<a class="folder" href="./c%22/">c&quot;/</a>"#,
            r#"<th aria-sort="ascending"><a href="?sort=name&amp;order=desc">Name</a></th>"#,
            r#"<p class="quiet">1 folder</p>"#,
        ] {
            assert!(page.contains(expected), "no {expected} in {page}");
        }
        assert!(!render(b"/", Format::Html, &[&folders]).contains("../"));
    }

    #[test]
    fn pieces_make_the_same_listing_as_a_whole() {
        let entries = [
            entry(Kind::Folder, b"a"),
            entry(Kind::File, b"b"),
            entry(Kind::Other, b"c"),
        ];
        let [a, b, c] = entries.each_ref().map(std::slice::from_ref);
        for format in [Format::Html, Format::Json, Format::Text] {
            let whole = render(b"/", format, &[&entries]);
            assert_eq!(render(b"/", format, &[a, &[], b, c]), whole);
        }
        assert_eq!(
            render(b"/", Format::Json, &[&entries]),
            r#"[
{"name":"a","type":"folder","href":"./a/","modified":"2026-11-21T05:54:30Z"},
{"name":"b","type":"file","href":"./b","size":12,"modified":"2026-11-21T05:54:30Z"},
{"name":"c","type":"other","href":"./c","modified":"2026-11-21T05:54:30Z"}
]
"#
        );
        assert_eq!(render(b"/", Format::Json, &[]), "[\n]\n");
    }

    #[test]
    fn the_policy_lets_the_script_run() {
        let page = render(b"/", Format::Html, &[&[entry(Kind::File, b"a")]]);
        let (_, script) = page.split_once("<script>").expect("a script");
        let (script, _) = script
            .split_once("</script>")
            .expect("an end of the script");
        let hash = STANDARD.encode(Sha256::digest(script));
        assert!(content_security_policy().contains(&format!("script-src 'sha256-{hash}';")));
    }
}
