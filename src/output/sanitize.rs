//! Keeps what came from the network from steering the terminal.
//!
//! Control characters (C0, DEL, C1) and those that reorder or hide text (bidirectional
//! overrides, line and paragraph separators) are shown as `\x1b`, `\u{202e}`.

use std::fmt::{self, Write};

/// Longer lines are cut on the screen and in the ring.
const LINE_OCTETS_MAX: usize = 64 << 10;

fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line fit for a terminal; a tab stays. In JSON the escape is JSON's own.
pub(super) fn line(text: &str, json: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if safe.len() > LINE_OCTETS_MAX && !json {
            safe.push_str(" ... (cut)");
            break;
        }
        match c {
            '\t' => safe.push(c),
            _ if !is_harmful(c) => safe.push(c),
            _ if json => _ = write!(safe, "\\u{:04x}", u32::from(c)),
            _ => escape(&mut safe, c),
        }
    }
    safe
}

fn escape(out: &mut impl Write, c: char) {
    // Writing to a String, the only user, does not fail.
    let _ = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(c)),
        _ => write!(out, "\\u{{{:x}}}", u32::from(c)),
    };
}

/// Octets or text of a peer inside an event's text: one line, nothing but what can be seen.
pub(crate) struct Printable<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        glyphs(self.0).try_for_each(|glyph| match glyph {
            Glyph::Plain(c) => f.write_char(c),
            Glyph::Escape(text) => f.write_str(&text),
        })
    }
}

/// What is seen of a character, or of an octet that is none.
pub(crate) enum Glyph {
    Plain(char),
    Escape(String),
}

pub(crate) fn glyphs(octets: &[u8]) -> impl Iterator<Item = Glyph> {
    octets.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter();
        let invalid = invalid.map(|octet| Glyph::Escape(format!("\\x{octet:02x}")));
        chunk.valid().chars().map(glyph).chain(invalid)
    })
}

fn glyph(c: char) -> Glyph {
    if !is_harmful(c) {
        return Glyph::Plain(c);
    }
    let mut escaped = String::new();
    escape(&mut escaped, c);
    Glyph::Escape(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_steer_the_terminal_or_forge_a_line() {
        let attack = "\x1b]52;c;cm0=\x07ok\r\nforged\u{9b}2J\u{202e}txt\x7f";
        let shown = r"\x1b]52;c;cm0=\x07ok\r\nforged\u{9b}2J\u{202e}txt\x7f";
        assert_eq!(Printable(attack.as_bytes()).to_string(), shown);
        assert_eq!(line(attack, false), shown);
        assert_eq!(Printable(b"caf\xc3\xa9 \xff").to_string(), "café \\xff");
    }

    #[test]
    fn json_stays_json() {
        let json = serde_json::to_string("a\u{9b}b\x1b\u{202e}").expect("a string");
        let safe = line(&json, true);
        assert_eq!(safe, r#""a\u009bb\u001b\u202e""#);
        assert_eq!(
            serde_json::from_str::<String>(&safe).expect("JSON"),
            "a\u{9b}b\x1b\u{202e}"
        );
    }

    #[test]
    fn an_endless_line_is_cut() {
        let cut = line(&"x".repeat(10 << 20), false);
        assert!(cut.len() < LINE_OCTETS_MAX + 32 && cut.ends_with("(cut)"));
    }
}
