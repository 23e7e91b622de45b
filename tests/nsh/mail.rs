//! `mail` over real sockets.

mod arguments;
mod authentication;
mod client;
mod drafts;
mod hostile;
mod lab;
mod limits;
mod messages;
mod mx;
mod mx_tls;
mod route;
mod secrets;
mod sending;
mod server;
mod several;
mod sink;
mod splits;
mod stopping;
mod tls;

use serde_json::Value;

use self::client::Client;
use super::support::{Place, Running, place};

struct Server {
    nsh: Running,
    address: String,
    place: Place,
}

fn sink(options: &str) -> Server {
    sink_in(place(), options)
}

fn sink_in(place: Place, options: &str) -> Server {
    let mut nsh = place.start(&["--json", "-c", &format!("mail --sink -p 0 {options}")]);
    let address = nsh.event("listening")["address"].clone();
    Server {
        nsh,
        address: address.as_str().expect("an address").to_owned(),
        place,
    }
}

impl Server {
    /// Behind the greeting.
    fn connect(&self) -> Client {
        let mut client = Client::connect(&self.address);
        client.check("220 sink.localhost ESMTP accepts everything and delivers nothing");
        client
    }

    fn message(&mut self) -> Value {
        self.nsh.event("message")
    }

    /// The files of the folder, whatever their names.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.place.path().join("sink")).expect("a folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("UTF-8")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}
