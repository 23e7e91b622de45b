//! Where in which script something went wrong.

use super::{Shell, Source};
use crate::tool::{Error, Status};

impl Shell {
    pub(super) fn set_offset(&mut self, offset: usize) {
        if let Some(frame) = self.frames.last_mut() {
            frame.offset = offset;
        }
    }

    pub(super) fn offset(&self) -> usize {
        self.frames.last().map_or(0, |frame| frame.offset)
    }

    /// The source's text between two offsets.
    pub(super) fn text(&self, start: usize, end: usize) -> String {
        let text = self
            .frames
            .last()
            .and_then(|frame| frame.source.text.get(start..end));
        text.unwrap_or_default().to_owned()
    }

    /// What stands before a command's error: its position in a script, else nothing.
    pub(crate) fn label(&self) -> String {
        match self.frames.last() {
            Some(frame) if frame.source.is_script() => {
                format!("{}: ", frame.source.position(frame.offset))
            }
            _ => String::new(),
        }
    }

    /// A command failed.
    pub(super) fn fail(&self, name: &str, error: &Error) -> Status {
        let status = error.status();
        self.out()
            .error(format!("{}{name}: {error}", self.label()), status.0);
        status
    }

    /// A command could not be run as it is written.
    pub(super) fn refuse(&self, offset: usize, text: &str, status: Status) -> Status {
        let position = self
            .frames
            .last()
            .map(|frame| frame.source.position(offset));
        let position = position
            .map(|position| format!("{position}: "))
            .unwrap_or_default();
        let told = self.with_sources(format!("{position}{text}"));
        self.out().error(told, status.0);
        status
    }

    /// The text, and where the script that it is about was sourced.
    pub(crate) fn with_sources(&self, mut text: String) -> String {
        let outer = self.frames.split_last().map_or(&[][..], |(_, outer)| outer);
        for frame in outer.iter().rev().filter(|frame| frame.source.is_script()) {
            text.push_str(&format!(
                "\n  sourced at {}",
                frame.source.position(frame.offset)
            ));
        }
        text
    }

    /// A script says at which line it ended early.
    pub(super) fn tell_where_it_stopped(&self) {
        let Some(frame) = self.frames.last().filter(|frame| frame.source.is_script()) else {
            return;
        };
        let position = frame.source.position(frame.offset);
        let status = self.status.0;
        let text = format!("{position}: stopped here with status {status} (--keep-going goes on)");
        self.out().warn(text);
    }

    /// The scripts being run, outermost first.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.frames.iter().map(|frame| &*frame.source)
    }
}
