//! `proxy` over real sockets, from both sides: what its client got, and what the origin saw.

mod forwarding;
mod framing;
mod origin;
mod refusals;

use std::io::Read;

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
