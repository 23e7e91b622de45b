//! `serve` over real sockets: what its clients get, octet by octet.

mod access;
mod answers;
mod arguments;
mod bodies;
mod codings;
mod conditions;
mod connections;
mod framing;
mod listings;
mod paths;
mod ranges;
mod refusals;
mod sites;
mod splits;
mod stopping;

use std::fs::File;
use std::time::SystemTime;

use nix::sys::signal::Signal;

use super::client::{self, Answer, Client};
use super::support::{Place, Ran, Running, place};

/// Asked for behind another request, to see whether that one ended where it should.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct Server {
    nsh: Running,
    address: String,
    place: Place,
}

/// A fresh place with a folder `www`.
fn www() -> Place {
    let place = place();
    std::fs::create_dir(place.path().join("www")).expect("room on the disk");
    place.write("www/next", "next\n");
    place.write("www/page.html", "<p>page</p>\n");
    place
}

fn serve(place: Place, options: &str) -> Server {
    let command = format!("serve www -p 0 {options}");
    let nsh = place.start(&["--json", "-c", &command]);
    Server::of(place, nsh)
}

impl Server {
    fn of(place: Place, mut nsh: Running) -> Server {
        let address = nsh.event("listening")["address"].clone();
        Server {
            nsh,
            address: address.as_str().expect("an address").to_owned(),
            place,
        }
    }

    fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// Asks on a connection of its own, which must end behind the answer.
    #[track_caller]
    fn ask(&self, line: &str, fields: &[&str]) -> Answer {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let request =
            format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        let mut client = self.connect();
        let answer = client.ask(&request);
        assert!(answer.has("connection", "close"), "{request:?}: {answer:?}");
        client.expect_end();
        answer
    }

    #[track_caller]
    fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"), &[])
    }

    /// What a request and [`NEXT`] behind it are answered with, like `200 next`, or `400 end`
    /// where the server leaves the next one alone.
    #[track_caller]
    fn check(&self, request: impl AsRef<[u8]>, expected: &str) {
        let request = request.as_ref();
        let mut client = self.connect();
        client.send([request, NEXT.as_bytes()].concat());
        let mut method = client::method(request);
        let mut got = Vec::new();
        loop {
            let Some(answer) = client.receive(&method) else {
                got.push("end".to_owned());
                break;
            };
            if answer.body == b"next\n" {
                client.expect_end();
                got.push("next".to_owned());
                break;
            }
            if answer.status >= 200 {
                method = "GET".to_owned();
            }
            got.push(answer.status.to_string());
        }
        assert_eq!(got.join(" "), expected, "{}", request.escape_ascii());
    }

    fn stop(self) -> Ran {
        self.nsh.signal(Signal::SIGINT);
        self.nsh.end()
    }

    /// A file without content that takes no room.
    fn sparse(&self, name: &str, octets: u64) -> File {
        let file = File::create(self.place.path().join(name)).expect("room on the disk");
        file.set_len(octets).expect("a sparse file");
        file
    }
}

fn set_modified(place: &Place, name: &str, time: SystemTime) {
    let file = File::options().write(true).open(place.path().join(name));
    let file = file.expect(name);
    file.set_modified(time).expect("it is ours");
}
