//! nsh from outside: the built program, in a fresh folder, as its users meet it.

#![expect(clippy::print_stdout, reason = "tests say what they skipped")]

mod jobs;
mod line;
mod ping;
mod prompt;
mod scripts;
mod support;
mod upper;
