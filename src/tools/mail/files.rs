//! Files that go into messages.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::message::Attachment;
use crate::cause;
use crate::measure::size;
use crate::tool::Error;

/// Larger ones no server takes, and each is in memory several times.
const FILE_OCTETS_MAX: u64 = 100 << 20;

pub(super) fn text_of(file: &Path) -> Result<String, Error> {
    String::from_utf8(octets_of(file)?)
        .map_err(|_| Error::Usage(format!("{} is not UTF-8", file.display())))
}

pub(super) fn attachment(file: &Path) -> Result<Attachment, Error> {
    let name = file.file_name().unwrap_or(file.as_os_str());
    Ok(Attachment {
        file_name: name.to_string_lossy().into_owned(),
        octets: octets_of(file)?,
    })
}

pub(super) fn octets_of(file: &Path) -> Result<Vec<u8>, Error> {
    let shown = file.display();
    let cannot =
        |error: std::io::Error| Error::Usage(format!("cannot read {shown}: {}", cause::of(&error)));
    let metadata = std::fs::metadata(file).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Error::Usage(format!("{shown} is no file")));
    }
    let mut octets = Vec::new();
    let opened = File::open(file).map_err(cannot)?;
    let read = opened.take(FILE_OCTETS_MAX + 1).read_to_end(&mut octets);
    read.map_err(cannot)?;
    if octets.len() as u64 > FILE_OCTETS_MAX {
        let max = size::human(FILE_OCTETS_MAX);
        return Err(Error::Usage(format!("{shown} is larger than {max}")));
    }
    Ok(octets)
}
