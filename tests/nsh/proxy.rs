//! `proxy` over real sockets, from both sides: what its client got, and what the origin saw.

mod access;
mod afar;
mod crashes;
mod crowds;
mod faults;
mod forwarding;
mod framing;
mod freshness;
mod limits;
mod origin;
mod pages;
mod parents;
mod refusals;
mod storing;
mod tunnels;

use std::io::Read;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::client::{Answer, Client};
use super::support::{Place, Ran, Running, place};
use origin::{Connection, Origin};

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
    let nsh = place.start(&["--json", "-c", &command]);
    Proxy::of(place, nsh)
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
        let named = url.strip_prefix("http://");
        let host = named.and_then(|rest| rest.split('/').next());
        let host = host.unwrap_or(&self.address);
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

    /// Of one that was started with `--json`.
    fn of(place: Place, mut nsh: Running) -> Proxy {
        let address = nsh.event("listening")["address"].clone();
        Proxy {
            nsh,
            address: address.as_str().expect("an address").to_owned(),
            place,
        }
    }

    /// A connection whose octets the test itself looks at.
    fn dial(&self) -> Connection {
        Connection::to(&self.address)
    }

    /// The client's end of a tunnel.
    #[track_caller]
    fn tunnel(&self, destination: &str) -> Connection {
        let mut end = self.dial();
        end.send(connect_to(destination));
        assert_eq!(end.head(), ESTABLISHED);
        end
    }

    /// Until so many more exchanges are over, which is a moment after their answers: from then on
    /// they are in all figures.
    #[track_caller]
    fn settle(&mut self, exchanges: usize) {
        (0..exchanges).for_each(|_| drop(self.nsh.event("exchange")));
    }

    /// One of the proxy's figures.
    #[track_caller]
    fn metric(&self, name: &str) -> u64 {
        let answer = self.get("/-/metrics");
        let prefix = format!("{name} ");
        let mut lines = answer.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(&prefix));
        let value = value.unwrap_or_else(|| panic!("no {name} in {}", answer.text()));
        value.parse().expect("a number")
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

/// RFC 9110 section 9.3.6: without Content-Length and Transfer-Encoding.
const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn connect_to(destination: &str) -> String {
    format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n")
}

/// A text in which `nsh` stands for the name that one proxy has in Via, `ORIGIN` for the origin's
/// address, and `now` for a date of this century.
fn general(text: &str, origin: &str) -> String {
    let mut general = String::new();
    for line in text.split_inclusive("\r\n") {
        let is_new = line.starts_with("Date: ") && line.contains(" 20");
        general += if is_new { "Date: now\r\n" } else { line };
    }
    while let Some(at) = general.find("nsh-") {
        general.replace_range(at + 3..at + 12, "");
    }
    general.replace(origin, "ORIGIN")
}

/// What a client whose last request this is (like `GET HTTP/1.0`) gets of a response, octet by
/// octet.
#[track_caller]
fn check_response(request: &str, response: &str, expected: &str) {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    let (method, version) = request.split_once(' ').expect("a method and a version");
    let fields = "Host: ORIGIN\r\nConnection: close\r\n";
    client.send(format!(
        "{method} {} {version}\r\n{fields}\r\n",
        origin.url("/")
    ));
    let mut connection = origin.accept();
    connection.head();
    connection.send(response.replace("ORIGIN", &origin.address));
    connection.send_end();
    let got = String::from_utf8(client.rest()).expect("UTF-8");
    let got = general(&got, &origin.address);
    assert_eq!(got, expected, "{request} {response:?}");
}

fn get(url: &str) -> String {
    format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Octet by octet, past the client's own buffer.
#[track_caller]
fn read_until(client: &mut Client, end: &str) {
    let mut came = Vec::new();
    while !came.ends_with(end.as_bytes()) {
        let mut octet = [0];
        let read = client.stream.read_exact(&mut octet);
        read.unwrap_or_else(|error| panic!("{error} behind {}", came.escape_ascii()));
        came.push(octet[0]);
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
