//! What every page that the server writes itself has in common, and the page for an error.

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

/// Octets as plain text: what would be invisible, move text about or is not UTF-8 is spelt out.
pub(crate) fn text(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for glyph in glyphs(octets) {
        match glyph {
            Glyph::Plain(character) => text.push(character),
            Glyph::Escape(escape) => text += &escape,
        }
    }
    text
}

/// The same as HTML.
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

enum Glyph {
    Plain(char),
    Escape(String),
}

fn glyphs(octets: &[u8]) -> impl Iterator<Item = Glyph> {
    octets.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter();
        let invalid = invalid.map(|octet| Glyph::Escape(format!("\\x{octet:02x}")));
        chunk.valid().chars().map(glyph).chain(invalid)
    })
}

fn glyph(character: char) -> Glyph {
    match character {
        // Besides controls: line separators, and what turns "txt.exe" into "exe.txt".
        '\u{80}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Glyph::Escape(format!("\\u{{{:x}}}", u32::from(character)))
        }
        '\0'..='\x1f' | '\x7f' => Glyph::Escape(format!("\\x{:02x}", u32::from(character))),
        _ => Glyph::Plain(character),
    }
}
