//! A listing as HTML: a page with one table.

use chrono::{Local, SecondsFormat};

use super::entry::{Column, Entry, Kind, Order, Totals};
use crate::measure::size;
use crate::output::Printable;
use crate::web::page::{self, html};

pub(crate) const SCRIPT: &str = include_str!("listing.js");

/// The page up to where the table begins.
pub(crate) fn start(path: &[u8], order: Option<Order>) -> String {
    let start = page::start(
        &format!("Index of {}", Printable(path)),
        include_str!("listing.css"),
    );
    let trail = trail(path);
    let unsorted = match order {
        Some(_) => "",
        None => {
            "<p class=\"quiet\">Too many entries to sort: they are in the folder's own order.</p>\n"
        }
    };
    format!(
        r#"{start}<header>
<div>
<p class="quiet">Index of</p>
<nav aria-label="Folders"><h1>{trail}</h1></nav>
{unsorted}</div>
<label id="filter" hidden><input type="search" placeholder="Filter" aria-label="Filter by name" autocomplete="off" spellcheck="false"><output></output></label>
</header>
"#
    )
}

/// The table up to its first entry.
pub(crate) fn head(path: &[u8], order: Option<Order>) -> String {
    let name = column_head(order, Column::Name, "name", "Name");
    let size = column_head(order, Column::Size, "size", "Size");
    let date = column_head(order, Column::Date, "date", "Modified");
    let up = match path {
        b"/" => "",
        _ => {
            r#"<tbody><tr><td><a class="up" href="../">..</a></td><td></td><td></td></tr></tbody>"#
        }
    };
    format!(
        r#"<table>
<thead><tr>{name}{size}{date}</tr></thead>
{up}
<tbody id="entries">
"#
    )
}

pub(crate) fn row(entry: &Entry) -> String {
    let (name, href, slash) = (html(&entry.name), entry.href(), entry.slash());
    let name = match entry.kind {
        Kind::Folder => format!(r#"<a class="folder" href="{href}">{name}{slash}</a>"#),
        Kind::File => format!(r#"<a class="file" href="{href}">{name}</a>"#),
        Kind::Other => format!(r#"<b title="cannot be opened">{name}</b>"#),
    };
    let size = match entry.kind {
        Kind::File => {
            let (figure, unit) = size::parts(entry.size);
            let octets = plural(entry.size, "octet");
            format!(r#"<td title="{octets}">{figure} <span>{unit}</span></td>"#)
        }
        Kind::Folder | Kind::Other => "<td></td>".to_string(),
    };
    let date = entry.modified().map_or(String::new(), |time| {
        let time = time.with_timezone(&Local);
        let exact = time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let minute = time.format("%Y-%m-%d %H:%M");
        format!(r#"<time datetime="{exact}">{minute}</time>"#)
    });
    format!("<tr><td>{name}</td>{size}<td>{date}</td></tr>\n")
}

/// The rest of a page whose table has begun.
pub(crate) fn end(totals: &Totals) -> String {
    let counts = [
        (totals.folders, "folder"),
        (totals.files, "file"),
        (totals.others, "other"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let mut parts: Vec<String> = counts.map(|(count, noun)| plural(count, noun)).collect();
    if totals.files > 0 {
        let (figure, unit) = size::parts(totals.octets);
        let octets = plural(totals.octets, "octet");
        parts.push(format!(r#"<span title="{octets}">{figure} {unit}</span>"#));
    }
    let (totals, end) = (parts.join(", "), page::END);
    format!(
        r#"</tbody>
</table>
<p class="quiet">{totals}</p>
<script>{SCRIPT}</script>
{end}"#
    )
}

/// The rest of a page that has no entries, and so no table.
pub(crate) fn empty(path: &[u8]) -> String {
    let up = match path {
        b"/" => "",
        _ => r#"<br><a href="../">Go up</a>"#,
    };
    let end = page::END;
    format!("<p class=\"empty\">Nothing in here yet.{up}</p>\n{end}")
}

/// The path, where each folder is a link.
fn trail(path: &[u8]) -> String {
    let folders = path.split_inclusive(|octet| *octet == b'/');
    let depth = folders.clone().count();
    let link = |(index, folder)| {
        let above = depth - 1 - index;
        let href = "../".repeat(above);
        let current = if above == 0 {
            r#" aria-current="page""#
        } else {
            ""
        };
        format!(r#"<a href="./{href}"{current}>{}</a><wbr>"#, html(folder))
    };
    folders.enumerate().map(link).collect()
}

fn column_head(order: Option<Order>, by: Column, key: &str, title: &str) -> String {
    let Some(order) = order else {
        return format!("<th>{title}</th>");
    };
    // The largest and the newest are what one looks for first.
    let (sorted, next) = match (order.by == by, order.descending) {
        (true, false) => (r#" aria-sort="ascending""#, "desc"),
        (true, true) => (r#" aria-sort="descending""#, "asc"),
        (false, _) if by == Column::Name => ("", "asc"),
        (false, _) => ("", "desc"),
    };
    format!(r#"<th{sorted}><a href="?sort={key}&amp;order={next}">{title}</a></th>"#)
}

fn plural(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
