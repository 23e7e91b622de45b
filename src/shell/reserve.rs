//! Descriptors kept for the time when servers have taken all others.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};

#[derive(Default)]
pub(crate) struct Reserve(Vec<File>);

impl Reserve {
    /// Keeps up to `count` descriptors with numbers below `limit`.
    pub(crate) fn hold(&mut self, count: usize, limit: RawFd) {
        while self.0.len() < count {
            // The lowest free number, so that after one too high all are.
            match File::open("/dev/null") {
                Ok(file) if file.as_raw_fd() < limit => self.0.push(file),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Frees `count` of them.
    pub(crate) fn release(&mut self, count: usize) {
        self.0.truncate(self.0.len().saturating_sub(count));
    }
}
