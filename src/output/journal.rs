//! One job's lines: to the screen, and into the ring that `logs` shows.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::screen::{Entry, Screen};
use super::{Stream, Tone};
use crate::cancel::Bell;

/// What `logs` can show of a job.
const RING_LINES_MAX: usize = 1000;
const RING_OCTETS_MAX: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) stream: Stream,
    pub(crate) tone: Tone,
    pub(crate) json: bool,
    /// As it is shown.
    pub(crate) text: Arc<str>,
    /// The same for a person where `text` is JSON: what `expect` looks at.
    pub(crate) human: Option<Arc<str>>,
}

impl Line {
    pub(crate) fn says(&self, text: &str) -> bool {
        says(self.human.as_ref().unwrap_or(&self.text), text)
    }
}

/// Whether `text` is in the output. A number at its edge is a whole one: '0% packet loss' is not
/// in '100% packet loss'.
pub(crate) fn says(output: &str, text: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit() || c == '.');
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let mut places = output.match_indices(text);
    places.any(|(start, _)| {
        let before = output[..start].chars().next_back();
        let after = output[start + text.len()..].chars().next();
        let cuts_start = is_digit(text.chars().next()) && is_part(before);
        let cuts_end = is_digit(text.chars().next_back()) && is_digit(after);
        !cuts_start && !cuts_end
    })
}

pub(crate) struct Journal {
    screen: Arc<Screen>,
    /// The shell itself has no number.
    pub(crate) job: Option<u32>,
    /// Lines in the foreground bear no `[2] `.
    foreground: AtomicBool,
    /// How many `logs -f` show its lines in the screen's place.
    followed: AtomicUsize,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Line>,
    octets: usize,
    /// How many lines were ever written; the newest bears this number.
    written: u64,
    followers: Vec<Weak<Bell>>,
}

impl Journal {
    pub(crate) fn of_shell(screen: Arc<Screen>) -> Arc<Journal> {
        Journal::new(screen, None, true)
    }

    pub(crate) fn of_job(screen: Arc<Screen>, job: u32, foreground: bool) -> Arc<Journal> {
        Journal::new(screen, Some(job), foreground)
    }

    fn new(screen: Arc<Screen>, job: Option<u32>, foreground: bool) -> Arc<Journal> {
        Arc::new(Journal {
            screen,
            job,
            foreground: AtomicBool::new(foreground),
            followed: AtomicUsize::new(0),
            ring: Mutex::default(),
        })
    }

    pub(crate) fn set_foreground(&self, foreground: bool) {
        self.foreground.store(foreground, Ordering::SeqCst);
    }

    pub(crate) fn is_foreground(&self) -> bool {
        self.foreground.load(Ordering::SeqCst)
    }

    /// The job's number where its lines bear it.
    pub(crate) fn background_job(&self) -> Option<u32> {
        self.job.filter(|_| !self.is_foreground())
    }

    pub(super) fn write(&self, line: Line) {
        if self.job.is_some() {
            self.ring
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line.clone());
        }
        if self.followed.load(Ordering::SeqCst) == 0 {
            self.screen.push(self.entry(&line));
        }
    }

    pub(super) fn is_lossless(&self) -> bool {
        self.screen.is_lossless()
    }

    pub(super) fn write_octets(&self, octets: &[u8]) {
        self.screen.write_octets(octets);
    }

    pub(super) fn redraw(&self, lines: &[String]) {
        self.screen.redraw(lines);
    }

    pub(super) fn ring(&self) {
        self.screen.ring();
    }

    /// Until it is dropped, the lines go to the ring only.
    pub(crate) fn mute(&self) -> Mute<'_> {
        self.followed.fetch_add(1, Ordering::SeqCst);
        Mute(self)
    }

    fn entry(&self, line: &Line) -> Entry {
        Entry {
            job: self.job,
            prefix: self.background_job(),
            line: line.clone(),
        }
    }

    /// The ring's lines from number `after` on (the first is number 0), and the next number.
    pub(crate) fn lines_after(&self, after: u64) -> (Vec<Line>, u64) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = u64::try_from(ring.lines.len()).unwrap_or(u64::MAX);
        let missing = after.saturating_sub(ring.written.saturating_sub(kept));
        let skip = usize::try_from(missing).unwrap_or(usize::MAX);
        (
            ring.lines.iter().skip(skip).cloned().collect(),
            ring.written,
        )
    }

    /// `bell` rings with each new line.
    pub(crate) fn follow(&self, bell: &Arc<Bell>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.followers
            .retain(|follower| follower.strong_count() > 0);
        ring.followers.push(Arc::downgrade(bell));
    }
}

pub(crate) struct Mute<'a>(&'a Journal);

impl Drop for Mute<'_> {
    fn drop(&mut self) {
        self.0.followed.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ring {
    fn push(&mut self, line: Line) {
        self.octets += line.text.len();
        self.lines.push_back(line);
        self.written += 1;
        while self.lines.len() > RING_LINES_MAX || self.octets > RING_OCTETS_MAX {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.octets -= oldest.text.len();
        }
        for follower in self.followers.iter().filter_map(Weak::upgrade) {
            follower.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::says;

    #[test]
    fn numbers_are_looked_for_as_a_whole() {
        assert!(says("3 received, 0% packet loss", "0% packet loss"));
        for more in ["100% packet loss", "1.0% packet loss"] {
            assert!(!says(more, "0% packet loss"), "{more}");
        }
        assert!(!says("port 13000", "port 1300") && says("port 1300.", "port 1300"));
        assert!(says("10% and 0%", "0%") && says("anything", "") && says("version 1.2", "1.2"));
    }
}
