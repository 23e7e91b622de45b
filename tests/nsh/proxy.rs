//! `proxy` over real sockets, from both sides: what its client got, and what the origin saw.

mod crashes;
mod crowds;
mod forwarding;
mod freshness;
mod origin;
mod storing;

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::client::{Answer, Client};
use super::support::{Place, Ran, Running, place};
use origin::Origin;

struct Proxy {
    nsh: Running,
    address: String,
    place: Place,
}

/// Without a cache.
fn passing(options: &str) -> Proxy {
    proxy(place(), &format!("--no-cache {options}"))
}

/// With a cache in the folder `kept`.
fn caching(options: &str) -> Proxy {
    proxy(place(), &format!("--cache kept {options}"))
}

fn proxy(place: Place, options: &str) -> Proxy {
    let command = format!("proxy -p 0 {options}");
    let mut nsh = place.start(&["--json", "-c", &command]);
    let address = nsh.event("listening")["address"].clone();
    Proxy {
        nsh,
        address: address.as_str().expect("an address").to_owned(),
        place,
    }
}

impl Proxy {
    fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// Asks for a URL on a connection of its own.
    #[track_caller]
    fn ask(&self, line: &str, fields: &[&str]) -> Answer {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let url = line.split(' ').nth(1).unwrap_or_default();
        let host = url.split('/').nth(2).unwrap_or(&self.address);
        let request =
            format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
        self.connect().ask(request)
    }

    #[track_caller]
    fn get(&self, url: &str) -> Answer {
        self.ask(&format!("GET {url}"), &[])
    }

    fn stop(self) -> Ran {
        self.nsh.signal(Signal::SIGINT);
        self.nsh.end()
    }

    /// Has an obliging origin say these lines, if it is asked.
    #[track_caller]
    fn ask_saying(&self, line: &str, says: &[&str], fields: &[&str]) -> Answer {
        let says = says.iter().map(|line| format!("Say: {line}"));
        let fields = fields.iter().map(|field| (*field).to_owned());
        let lines: Vec<String> = says.chain(fields).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.ask(line, &lines)
    }

    /// Stops it; what it was started in, with its cache, stays.
    fn leave(self) -> Place {
        self.nsh.signal(Signal::SIGINT);
        self.nsh.end();
        self.place
    }

    /// The same without a warning, as in a crash.
    fn crash(self) -> Place {
        drop(self.nsh);
        self.place
    }

    /// `proxy cache` from another nsh.
    fn cache(&self, command: &str) -> Ran {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        let line = format!("proxy cache {command} -p {port}");
        self.place.run(&["--json", "-c", &line])
    }
}

/// Files of a cache that hold responses, or what is on its way to become one.
fn stored_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            found.extend(stored_files(&path));
        } else if name != "CACHEDIR.TAG" && name != "lock" {
            found.push(path);
        }
    }
    found.sort();
    found
}
