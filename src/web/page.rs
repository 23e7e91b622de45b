//! What every page that the server writes itself has in common, and the page for an error.

use crate::output::{Glyph, glyphs};

/// Everything up to the body's content. A page asks for nothing else, so its style is in it.
pub(crate) fn start(title: &str, more_style: &str) -> String {
    const STYLE: &str = include_str!("page.css");
    let title = html(title.as_bytes());
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{STYLE}{more_style}</style>
</head>
<body>
"#
    )
}

pub(crate) const END: &str = "</body>\n</html>\n";

/// A small page for an error; `detail` is a sentence.
pub(crate) fn error(code: u16, reason: &str, detail: &str) -> String {
    let start = start(&format!("{code} {reason}"), "");
    let (reason, detail) = (html(reason.as_bytes()), html(detail.as_bytes()));
    format!(
        r#"{start}<main class="error">
<p class="code">{code}</p>
<h1>{reason}</h1>
<p>{detail}</p>
<p><a href="/">Go to the start page</a></p>
</main>
{END}"#
    )
}

/// Octets as HTML; what is spelt out because it would not be seen looks different.
pub(crate) fn html(octets: &[u8]) -> String {
    let mut html = String::with_capacity(octets.len());
    for glyph in glyphs(octets) {
        match glyph {
            Glyph::Plain('&') => html += "&amp;",
            Glyph::Plain('<') => html += "&lt;",
            Glyph::Plain('>') => html += "&gt;",
            Glyph::Plain('"') => html += "&quot;",
            Glyph::Plain(character) => html.push(character),
            Glyph::Escape(escape) => html += &format!("<i>{escape}</i>"),
        }
    }
    html
}
