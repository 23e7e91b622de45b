//! The terminal (or pipe), and the one queue in front of it.
//!
//! Whoever holds `writer` owns the terminal. While a line is being edited that is the editor,
//! and only the printer thread may add lines, through the editor's own printer; that call
//! blocks as long as a completion menu is open, which is why nobody waits for that thread.
//! What it hands over just as a line is finished appears with the next prompt; the ring has it
//! in its place.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use super::{Colours, Line, Stream, Tone, paint};
use crate::cancel::Bell;

/// Lines that wait for the screen. Beyond it the oldest of a job are skipped (they stay in
/// `logs`); into a pipe or file only those of background jobs are, else whoever adds more
/// writes first.
const QUEUE_LINES_MAX: usize = 2000;
/// What one redraw of the line being edited may carry, and how often that happens.
const BATCH_LINES_MAX: usize = 200;
const BATCH_INTERVAL: Duration = Duration::from_millis(16);

/// Between two writes without an editor; at the end of a command nobody waits for it.
const REST: Duration = Duration::from_millis(1);

/// Adds text above the line being edited.
pub(crate) type EditorPrinter = Box<dyn FnMut(String) + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    /// A person watches: jobs are not held up, lines they are too fast for are skipped.
    Terminal,
    /// A program reads: every line of the shell and of its foreground arrives.
    Lossless,
}

pub(super) struct Entry {
    pub(super) job: Option<u32>,
    pub(super) prefix: Option<u32>,
    pub(super) line: Line,
}

impl Entry {
    /// A job's line, where nobody would be misled: on a terminal, or of a background job,
    /// which never waits for whoever reads.
    fn may_be_skipped(&self, surface: Surface) -> bool {
        match surface {
            Surface::Terminal => self.job.is_some(),
            Surface::Lossless => self.prefix.is_some(),
        }
    }
}

pub(crate) struct Screen {
    surface: Surface,
    colours: Colours,
    queue: Mutex<Queue>,
    filled: Condvar,
    writer: Mutex<()>,
    /// Lines at the bottom that [`Screen::redraw`] has drawn, and will draw over.
    picture: AtomicUsize,
    /// The last octets written to stdout were no whole line.
    in_line: AtomicBool,
    /// Rung when stdout is gone, so that the shell ends.
    lost: Arc<Bell>,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// By job: how many lines, and whether they were JSON.
    skipped: BTreeMap<u32, (u64, bool)>,
    editing: bool,
    /// Another program has the terminal.
    lent: bool,
    /// Why stdout can't be written to.
    lost: Option<io::ErrorKind>,
}

impl Screen {
    pub(crate) fn new(surface: Surface, colours: Colours, lost: Arc<Bell>) -> Arc<Screen> {
        Arc::new(Screen {
            surface,
            colours,
            queue: Mutex::default(),
            filled: Condvar::new(),
            writer: Mutex::new(()),
            picture: AtomicUsize::new(0),
            in_line: AtomicBool::new(false),
            lost,
        })
    }

    pub(crate) fn colours(&self) -> Colours {
        self.colours
    }

    /// Why stdout can't be written to any more.
    pub(crate) fn lost(&self) -> Option<io::ErrorKind> {
        self.queue().lost
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, entry: Entry) {
        let mut queue = self.queue();
        if queue.lost.is_some() {
            return;
        }
        if queue.entries.len() >= QUEUE_LINES_MAX {
            if entry.may_be_skipped(self.surface) {
                queue.skip_oldest(self.surface);
            } else {
                drop(queue);
                self.drain();
                queue = self.queue();
            }
        }
        queue.entries.push_back(entry);
        drop(queue);
        self.filled.notify_one();
    }

    /// Writes out what waits, unless a line is being edited.
    pub(crate) fn drain(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut queue = self.queue();
            if queue.editing || queue.lost.is_some() {
                return;
            }
            let batch = queue.take(usize::MAX);
            drop(queue);
            if batch.is_empty() {
                drop(writer);
                return;
            }
            if let Err(error) = self.write(&batch) {
                let mut queue = self.queue();
                queue.lost = Some(error.kind());
                queue.entries.clear();
                self.lost.ring();
            }
        }
    }

    pub(crate) fn is_lossless(&self) -> bool {
        self.surface == Surface::Lossless
    }

    /// Writes octets behind the lines that wait.
    pub(super) fn write_octets(&self, octets: &[u8]) {
        self.drain();
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.queue().lost.is_some() {
            return;
        }
        if let Some(last) = octets.last() {
            self.in_line.store(*last != b'\n', Ordering::SeqCst);
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(octets).and_then(|()| stdout.flush()) {
            self.queue().lost = Some(error.kind());
            self.lost.ring();
        }
    }

    /// Writes a prompt without a line end, where a person types: to stdout, or to stderr where
    /// only that is a terminal. In a script nobody is there to see it.
    pub(crate) fn prompt(&self, text: &str) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.leave_picture();
        if !io::stdin().is_terminal() {
            return;
        }
        if io::stdout().is_terminal() {
            let mut stdout = io::stdout().lock();
            let _ = stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush());
        } else {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }

    /// Draws lines at the bottom of a terminal, over those of the last call. What others write
    /// meanwhile takes their place.
    pub(super) fn redraw(&self, lines: &[String]) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_capable = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        if self.surface != Surface::Terminal || !is_capable || self.queue().editing {
            return;
        }
        let Ok(size) = tcgetwinsize(io::stdout()) else {
            return;
        };
        let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
        let mut text = self.over_picture();
        let shown = lines.len().min(rows.saturating_sub(1));
        for line in &lines[..shown] {
            // A line that wraps would be two when it is drawn over.
            text.extend(line.chars().take(columns));
            text.push('\n');
        }
        self.picture.store(shown, Ordering::SeqCst);
        let mut stdout = io::stdout().lock();
        let _ = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
    }

    /// From now on what was drawn stays where it is.
    pub(crate) fn leave_picture(&self) {
        self.picture.store(0, Ordering::SeqCst);
    }

    /// What erases the picture.
    fn over_picture(&self) -> String {
        match self.picture.swap(0, Ordering::SeqCst) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    /// Rings the terminal's bell, where stdout is one.
    pub(super) fn ring(&self) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if io::stdout().is_terminal() {
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(b"\x07").and_then(|()| stdout.flush());
        }
    }

    /// For stderr when there is no screen, or stdout is lost.
    pub(crate) fn last_words(text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// From now on the editor owns the terminal, or no longer.
    pub(crate) fn set_editing(&self, editing: bool) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.leave_picture();
        self.queue().editing = editing;
        self.filled.notify_one();
    }

    /// Another program owns the terminal; what jobs say waits.
    pub(crate) fn set_lent(&self, lent: bool) {
        self.queue().lent = lent;
        self.set_editing(lent);
    }

    /// Starts the thread that writes what jobs say. It is never waited for.
    pub(crate) fn start_printer(
        self: &Arc<Screen>,
        mut editor: Option<EditorPrinter>,
    ) -> io::Result<()> {
        let screen = Arc::clone(self);
        let print = move || {
            loop {
                let mut queue = screen.queue();
                while queue.entries.is_empty() || queue.lent || (queue.editing && editor.is_none())
                {
                    queue = screen
                        .filled
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                match &mut editor {
                    Some(editor) if queue.editing => {
                        let batch = queue.take(BATCH_LINES_MAX);
                        drop(queue);
                        editor(screen.text(&batch));
                        pause(BATCH_INTERVAL);
                    }
                    _ => {
                        drop(queue);
                        screen.drain();
                        // Lines that come in a rush share a write and a wake-up.
                        pause(REST);
                    }
                }
            }
        };
        thread::Builder::new()
            .name("printer".to_owned())
            .spawn(print)?;
        Ok(())
    }

    fn write(&self, batch: &[Entry]) -> io::Result<()> {
        let erase = self.over_picture();
        if !erase.is_empty() {
            let mut stdout = io::stdout().lock();
            stdout.write_all(erase.as_bytes())?;
            stdout.flush()?;
        }
        for run in batch.chunk_by(|a, b| a.line.stream == b.line.stream) {
            let text = self.text(run);
            match run[0].line.stream {
                Stream::Results => {
                    let mut stdout = io::stdout().lock();
                    if self.in_line.swap(false, Ordering::SeqCst) {
                        stdout.write_all(b"\n")?;
                    }
                    stdout.write_all(text.as_bytes())?;
                    stdout.flush()?;
                }
                // Without stderr there is nobody left to tell.
                Stream::Notices => _ = io::stderr().lock().write_all(text.as_bytes()),
            }
        }
        Ok(())
    }

    fn text(&self, entries: &[Entry]) -> String {
        let mut text = String::new();
        for entry in entries {
            let line = &entry.line;
            if let Some(job) = entry.prefix.filter(|_| !line.json) {
                text.push_str(&format!("[{job}]"));
                if !line.text.is_empty() {
                    text.push(' ');
                }
            }
            if self.colours.on(line.stream) {
                text.push_str(&paint(&line.text, line.tone));
            } else {
                text.push_str(&line.text);
            }
            text.push('\n');
        }
        text
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only this thread rests, and nobody waits for it"
)]
fn pause(span: Duration) {
    thread::sleep(span);
}

impl Queue {
    fn skip_oldest(&mut self, surface: Surface) {
        let mut entries = self.entries.iter();
        let oldest = entries.position(|entry| entry.may_be_skipped(surface));
        if let Some(entry) = oldest.and_then(|place| self.entries.remove(place)) {
            let job = entry.job.unwrap_or_default();
            let (lines, _) = self.skipped.remove(&job).unwrap_or_default();
            self.skipped.insert(job, (lines + 1, entry.line.json));
        }
    }

    fn take(&mut self, count: usize) -> Vec<Entry> {
        let mut batch: Vec<Entry> = std::mem::take(&mut self.skipped)
            .into_iter()
            .map(|(job, (lines, json))| skip_notice(job, lines, json))
            .collect();
        let count = count.min(self.entries.len());
        batch.extend(self.entries.drain(..count));
        batch
    }
}

fn skip_notice(job: u32, lines: u64, json: bool) -> Entry {
    let text = if json {
        format!("{{\"event\":\"skipped\",\"lines\":{lines},\"job\":{job}}}")
    } else {
        format!("... {} lines skipped, see 'logs {job}'", with_commas(lines))
    };
    let line = Line {
        stream: Stream::Notices,
        tone: Tone::Caution,
        json,
        text: text.into(),
        human: None,
    };
    Entry {
        job: Some(job),
        prefix: None,
        line,
    }
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Journal, Output, Text};
    use super::*;

    fn screen(surface: Surface) -> Arc<Screen> {
        let bell = Arc::new(Bell::new().expect("an eventfd"));
        let screen = Screen::new(surface, Colours::resolve(Choice::Never), bell);
        screen.set_editing(true);
        screen
    }

    fn flood(screen: &Arc<Screen>, lines: usize) -> Arc<Journal> {
        let journal = Journal::of_job(Arc::clone(screen), 2, false);
        let output = Output::new(Arc::clone(&journal), false, false);
        for number in 0..lines {
            output.emit(&Text {
                text: format!("line {number}"),
            });
        }
        journal
    }

    #[test]
    fn a_job_too_fast_for_the_terminal_is_not_held_up_and_the_screen_says_so() {
        let screen = screen(Surface::Terminal);
        let journal = flood(&screen, 3204);
        let batch = screen.queue().take(usize::MAX);
        let text = screen.text(&batch);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("... 1,204 lines skipped, see 'logs 2'"));
        assert_eq!(lines.next(), Some("[2] line 1204"));
        assert_eq!(lines.last(), Some("[2] line 3203"));
        let (kept, next) = journal.lines_after(0);
        assert_eq!(
            (kept.len(), &*kept[0].text, next),
            (1000, "line 2204", 3204)
        );
    }

    #[test]
    fn logs_show_what_follows_a_line() {
        let journal = flood(&screen(Surface::Terminal), 10);
        let texts = |after| {
            let (lines, _) = journal.lines_after(after);
            lines
                .iter()
                .map(|line| line.text.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(8), ["line 8", "line 9"]);
        assert_eq!(texts(10), [""; 0]);
        assert_eq!(texts(99), [""; 0]);
    }
}
