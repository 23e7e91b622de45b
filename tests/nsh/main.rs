//! nsh from outside: the built program, in a fresh folder, as its users meet it.

mod client;
mod get;
mod jobs;
mod line;
mod mail;
mod ping;
mod prompt;
mod proxy;
mod routers;
mod scripts;
mod serve;
mod support;
mod trace;
mod udpping;
mod upper;
