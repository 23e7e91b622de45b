//! What the proxy answers where it has no response of the origin.
//!
//! Nothing of the request but what the caller puts into the sentences is in it: fields such as
//! Cookie and Authorization never are (CVE-2025-62168 of squid).

use crate::http::head::Fields;
use crate::http::negotiate;
use crate::output::Printable;
use crate::web::page::{self, html};

/// The texts are whole sentences, apart from the headline; what is empty is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorAnswer<'a> {
    pub(crate) status: u16,
    /// Of the status line: `Bad Gateway`.
    pub(crate) reason: &'a str,
    /// Without a full stop: `example.com refuses the connection`.
    pub(crate) headline: &'a str,
    /// What was tried, and on what.
    pub(crate) what: &'a str,
    pub(crate) why: &'a str,
    /// What the person can do.
    pub(crate) advice: &'a str,
}

const SIGNATURE: &str = "This is the proxy's answer, not the site's.";

impl ErrorAnswer<'_> {
    /// The media type and the body: HTML for those that ask for it by name, as browsers do for
    /// what they show as a page.
    pub(crate) fn emit(&self, request: &Fields) -> (&'static str, String) {
        match negotiate::media_type(request, &["text/plain", "text/html"]) {
            "text/html" => ("text/html; charset=utf-8", self.html()),
            _ => ("text/plain; charset=utf-8", self.text()),
        }
    }

    fn html(&self) -> String {
        let start = page::start(
            &Printable(self.headline.as_bytes()).to_string(),
            include_str!("error.css"),
        );
        let status = self.status;
        let reason = html(self.reason.as_bytes());
        let headline = html(self.headline.as_bytes());
        let paragraphs = [
            ("", self.what),
            ("", self.why),
            (r#" class="advice""#, self.advice),
        ];
        let paragraphs: String = paragraphs
            .iter()
            .filter(|(_, sentence)| !sentence.is_empty())
            .map(|(class, sentence)| format!("<p{class}>{}</p>\n", html(sentence.as_bytes())))
            .collect();
        format!(
            r#"{start}<main class="error">
<p class="code">{status} {reason}</p>
<h1>{headline}</h1>
{paragraphs}<p class="quiet">{SIGNATURE} <a href="http://nsh.proxy/">Status of the proxy</a></p>
</main>
{}"#,
            page::END
        )
    }

    /// Fit for a terminal.
    fn text(&self) -> String {
        let reason = Printable(self.reason.as_bytes());
        let headline = Printable(self.headline.as_bytes());
        let mut text = format!("{} {reason}: {headline}\n\n", self.status);
        for sentence in [self.what, self.why, self.advice, SIGNATURE] {
            if !sentence.is_empty() {
                text += &format!("{}\n", Printable(sentence.as_bytes()));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::head::Field;

    const REFUSED: ErrorAnswer = ErrorAnswer {
        status: 502,
        reason: "Bad Gateway",
        headline: "example.com refuses the connection",
        what: "The proxy tried to connect to 192.0.2.1, port 80.",
        why: "That machine answers, but no server listens there.",
        advice: "Try again later, or check the port.",
    };

    fn emit(answer: &ErrorAnswer, accept: &str) -> (&'static str, String) {
        let field = Field {
            name: b"Accept",
            value: accept.as_bytes(),
        };
        answer.emit(&Fields(vec![field]))
    }

    #[test]
    fn browsers_get_a_page_and_others_text() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
            ("text/html", "text/html"),
            ("*/*", "text/plain"),
            ("image/avif,image/webp,*/*;q=0.8", "text/plain"),
            ("application/json", "text/plain"),
            ("", "text/plain"),
        ] {
            let (media_type, body) = emit(&REFUSED, accept);
            assert_eq!(media_type, format!("{expected}; charset=utf-8"), "{accept}");
            assert_eq!(body.starts_with("<!DOCTYPE html>"), expected == "text/html");
            assert!(body.ends_with('\n'));
        }
        assert!(REFUSED.emit(&Fields::default()).0.starts_with("text/plain"));
    }

    #[test]
    fn a_page() {
        let (_, body) = emit(&REFUSED, "text/html");
        assert!(body.contains("<title>example.com refuses the connection</title>"));
        let (_, body) = body.split_once("<body>\n").expect("a body");
        assert_eq!(
            body,
            r#"<main class="error">
<p class="code">502 Bad Gateway</p>
<h1>example.com refuses the connection</h1>
<p>The proxy tried to connect to 192.0.2.1, port 80.</p>
<p>That machine answers, but no server listens there.</p>
<p class="advice">Try again later, or check the port.</p>
<p class="quiet">This is the proxy's answer, not the site's. <a href="http://nsh.proxy/">Status of the proxy</a></p>
</main>
</body>
</html>
"#
        );
    }

    #[test]
    fn text() {
        let answer = ErrorAnswer {
            headline: "\x1b[2J\u{202e}moc.elpmaxe is odd",
            advice: "",
            ..REFUSED
        };
        assert_eq!(
            emit(&answer, "*/*").1,
            r"502 Bad Gateway: \x1b[2J\u{202e}moc.elpmaxe is odd

The proxy tried to connect to 192.0.2.1, port 80.
That machine answers, but no server listens there.
This is the proxy's answer, not the site's.
"
        );
    }

    proptest! {
        #[test]
        fn no_sentence_is_markup(sentence in ".*<script>.*") {
            let answer = ErrorAnswer {
                status: 400,
                reason: &sentence,
                headline: &sentence,
                what: &sentence,
                why: &sentence,
                advice: &sentence,
            };
            let (_, body) = emit(&answer, "text/html");
            prop_assert!(!body.contains("<script"));
            let tags = emit(&REFUSED, "text/html").1.matches('<').count();
            let escapes = body.matches("<i>").count() * 2;
            prop_assert_eq!(body.matches('<').count(), tags + escapes);
        }
    }
}
