//! Whether there is colour, and which.

use std::io::IsTerminal;

use owo_colors::OwoColorize;

use super::{Stream, Tone};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    Auto,
    Always,
    Never,
}

/// Colour on stdout and on stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Colours {
    results: bool,
    notices: bool,
}

impl Colours {
    /// `auto` follows NO_COLOR, then CLICOLOR_FORCE, then CLICOLOR=0, then whether a capable
    /// terminal is there (no-color.org, bixense.com/clicolors).
    pub(crate) fn resolve(choice: Choice) -> Colours {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is = |name, text| std::env::var_os(name).is_some_and(|value| value == text);
        let decide = |terminal: bool| match choice {
            Choice::Always => true,
            Choice::Never => false,
            Choice::Auto if set("NO_COLOR") => false,
            Choice::Auto if set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0") => true,
            Choice::Auto => terminal && !is("CLICOLOR", "0") && !is("TERM", "dumb"),
        };
        Colours {
            results: decide(std::io::stdout().is_terminal()),
            notices: decide(std::io::stderr().is_terminal()),
        }
    }

    pub(crate) fn on(self, stream: Stream) -> bool {
        match stream {
            Stream::Results => self.results,
            Stream::Notices => self.notices,
        }
    }

    /// Whether the line editor may paint: it writes to the terminal itself.
    pub(crate) fn in_editor(self) -> bool {
        self.results || self.notices
    }
}

pub(crate) fn paint(text: &str, tone: Tone) -> String {
    match tone {
        Tone::Plain => text.to_owned(),
        Tone::Good => text.green().to_string(),
        Tone::Caution => text.yellow().to_string(),
        Tone::Bad => text.red().to_string(),
    }
}
