//! `--log FILE`: a job's events in a file, whatever the screen shows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Line;
use crate::clock;

/// A full file becomes `FILE.1`, which becomes `FILE.2`, and so on.
const FILE_OCTETS_MAX: u64 = 10 << 20;
const OLD_FILES_MAX: u32 = 3;

pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    octets: u64,
    octets_max: u64,
}

impl LogFile {
    pub(crate) fn open(path: &Path) -> io::Result<LogFile> {
        // A device must not be renamed when it is "full", and a pipe may block for ever.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("it is not a regular file"));
        }
        LogFile::open_with_limit(path, FILE_OCTETS_MAX)
    }

    fn open_with_limit(path: &Path, octets_max: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let octets = file.metadata()?.len();
        Ok(LogFile {
            path: path.to_owned(),
            file,
            octets,
            octets_max,
        })
    }

    /// One write per line, so that a crash loses none.
    pub(super) fn append(&mut self, line: &Line) -> io::Result<()> {
        // A JSON line carries its time already.
        let text = if line.json {
            format!("{}\n", line.text)
        } else {
            format!("{} {}\n", clock::stamp(), line.text)
        };
        let octets = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if self.octets > 0 && self.octets.saturating_add(octets) > self.octets_max {
            self.rotate()?;
        }
        self.file.write_all(text.as_bytes())?;
        self.octets += octets;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..OLD_FILES_MAX).rev() {
            let _ = fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        fs::rename(&self.path, self.numbered(1))?;
        *self = LogFile::open_with_limit(&self.path, self.octets_max)?;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Stream, Tone};
    use super::*;

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("job.log");
        let mut log = LogFile::open_with_limit(&path, 30).expect("a new file");
        for number in 1..=11 {
            let text = format!("line number {number:02}").into();
            let line = Line {
                stream: Stream::Results,
                tone: Tone::Plain,
                json: true,
                text,
                human: None,
            };
            log.append(&line).expect("room on the disk");
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
        assert_eq!(read("job.log"), "line number 11\n");
        assert_eq!(read("job.log.1"), "line number 09\nline number 10\n");
        assert_eq!(read("job.log.3"), "line number 05\nline number 06\n");
        assert!(!folder.path().join("job.log.4").exists());
    }
}
