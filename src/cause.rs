//! The system's errors in its own words.

use std::io;

/// Without the number that std puts behind the words.
pub(crate) fn of(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
