//! A small world for mail: a name server with a zone, and exchangers with their manners.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
/// RFC 1035 section 4.2.1.
const UDP_OCTETS_MAX: usize = 512;

/// Answers over UDP and TCP for as long as the test runs.
pub struct Dns {
    pub address: String,
}

/// Owner, type and data, one record a line; `SERVFAIL` for a type spoils all of a name, or with a
/// type behind it, only that.
#[derive(Clone)]
struct Zone {
    records: Vec<[String; 3]>,
    is_signed: bool,
}

impl Dns {
    pub fn start(zone: &str) -> Dns {
        Dns::with(zone, false, false)
    }

    /// One that says it has validated all, but what is at a name that begins with `unsigned.`
    pub fn signed(zone: &str) -> Dns {
        Dns::with(zone, true, false)
    }

    /// One that answers a question about addresses only when it is asked for both families, and
    /// nobody twice.
    pub fn in_pairs(zone: &str) -> Dns {
        Dns::with(zone, false, true)
    }

    fn with(zone: &str, is_signed: bool, in_pairs: bool) -> Dns {
        let record = |line: &str| {
            let mut words = line.trim().splitn(3, ' ').map(str::to_owned);
            [(); 3].map(|()| words.next().unwrap_or_default())
        };
        let zone = Zone {
            records: zone.lines().map(record).collect(),
            is_signed,
        };
        let (udp, tcp) = bind();
        let address = udp.local_addr().expect("bound").to_string();
        let same = zone.clone();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            let mut held: Vec<(Vec<u8>, SocketAddr)> = Vec::new();
            while let Ok((count, peer)) = udp.recv_from(&mut buffer) {
                let query = buffer[..count].to_vec();
                let (_, kind) = question(&query);
                let is_first = in_pairs && kind.starts_with('A') && held.is_empty();
                assert!(held.iter().all(|(first, _)| question(first).1 != kind));
                held.push((query, peer));
                if is_first {
                    continue;
                }
                for (query, peer) in held.drain(..) {
                    let mut message = same.answer(&query);
                    if message.len() > UDP_OCTETS_MAX {
                        message[2] |= 2;
                        message.truncate(UDP_OCTETS_MAX);
                    }
                    udp.send_to(&message, peer).expect("sent");
                }
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.expect("a connection");
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a length");
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).expect("a query");
                let message = zone.answer(&query);
                let [.., high, low] = message.len().to_be_bytes();
                let framed = [&[high, low], &message[..]].concat();
                stream.write_all(&framed).expect("sent");
            }
        });
        Dns { address }
    }
}

fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback");
        // The port may be somebody's already.
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("bound")) {
            return (udp, tcp);
        }
    }
}

impl Zone {
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let (name, kind) = question(query);
        let (rcode, answers) = self.find(&name, kind);
        let mut message = query[..12 + octets(&name).len() + 4].to_vec();
        let is_of_unsigned = kind != "CNAME" && self.leads_to(&name).starts_with("unsigned.");
        let authentic = if self.is_signed && !is_of_unsigned {
            0x20
        } else {
            0
        };
        message[2..4].copy_from_slice(&[0x81, 0x80 | authentic | rcode]);
        message[6..8].copy_from_slice(&(answers.len() as u16).to_be_bytes());
        message[11] = 0;
        message.extend(answers.concat());
        message
    }

    /// The name behind all aliases.
    fn leads_to<'a>(&'a self, name: &'a str) -> &'a str {
        let is_alias = |record: &&[String; 3]| record[0] == name && record[1] == "CNAME";
        match self.records.iter().find(is_alias) {
            Some([_, _, target]) => self.leads_to(target),
            None => name,
        }
    }

    fn find(&self, name: &str, kind: &str) -> (u8, Vec<Vec<u8>>) {
        let of_name = || {
            let is_it = |record: &&[String; 3]| record[0].eq_ignore_ascii_case(name);
            self.records.iter().filter(is_it)
        };
        let spoils = |of: &str| of.is_empty() || of == kind;
        if of_name().any(|[_, kind, of]| kind == "SERVFAIL" && spoils(of)) {
            return (SERVFAIL, Vec::new());
        }
        if let Some([_, _, target]) = of_name().find(|record| record[1] == "CNAME") {
            let (rcode, mut answers) = match kind {
                "CNAME" => (0, Vec::new()),
                _ => self.find(target, kind),
            };
            answers.insert(0, record(name, 5, &octets(target)));
            return (rcode, answers);
        }
        let found = of_name().filter(|record| record[1] == kind);
        let answers = found.map(|[_, _, data]| match kind {
            "A" => record(name, 1, &data.parse::<Ipv4Addr>().expect("IPv4").octets()),
            "AAAA" => record(name, 28, &data.parse::<Ipv6Addr>().expect("IPv6").octets()),
            "TLSA" => record(name, 52, &tlsa(data)),
            _ => {
                let (preference, exchange) = data.split_once(' ').expect("both");
                let preference: u16 = preference.parse().expect("a number");
                let data = [&preference.to_be_bytes()[..], &octets(exchange)].concat();
                record(name, 15, &data)
            }
        });
        let rcode = if of_name().count() == 0 { NXDOMAIN } else { 0 };
        (rcode, answers.collect())
    }
}

/// The name and the type.
fn question(query: &[u8]) -> (String, &'static str) {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    let kind = match query[at + 2] {
        1 => "A",
        5 => "CNAME",
        15 => "MX",
        28 => "AAAA",
        52 => "TLSA",
        other => panic!("nobody asks for type {other}"),
    };
    (labels.join("."), kind)
}

fn record(owner: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short").to_be_bytes();
    [
        &octets(owner)[..],
        &[0, kind, 0, 1, 0, 0, 0, 9],
        &length,
        data,
    ]
    .concat()
}

/// Of a name, `.` is the root.
fn octets(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    octets.push(0);
    octets
}

/// `3 0 1 HEX`
fn tlsa(data: &str) -> Vec<u8> {
    let (fields, hex) = data.rsplit_once(' ').expect("four fields");
    let numbers = fields
        .split(' ')
        .map(|field| field.parse().expect("a number"));
    let digits = hex.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hex")
    });
    numbers.chain(digits).collect()
}

/// Takes mail, but for what its manners say: a reply for each command, `""` for the greeting.
/// With `close` in place of a reply it goes away.
pub struct Exchanger {
    seen: Arc<Mutex<Vec<String>>>,
}

type Manners = &'static [(&'static str, &'static str)];

impl Exchanger {
    pub fn start(address: &str, port: u16, manners: Manners) -> Exchanger {
        let listener = TcpListener::bind((address, port)).expect("the test's own address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let log = Arc::clone(&log);
                thread::spawn(move || serve(stream, manners, &log));
            }
        });
        Exchanger { seen }
    }

    /// The commands so far, and the lines of messages.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").clone()
    }
}

fn serve(mut stream: TcpStream, manners: Manners, log: &Mutex<Vec<String>>) {
    let reader = stream.try_clone().expect("a descriptor");
    let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    let mut reply = |command: &str, usual: &str| {
        let found = manners.iter().find(|(begin, _)| match *begin {
            "" => command.is_empty(),
            begin => command.starts_with(begin),
        });
        let text = found.map_or(usual, |(_, text)| text);
        text != "close" && stream.write_all(format!("{text}\r\n").as_bytes()).is_ok()
    };
    if !reply("", "220 mx.test ESMTP") {
        return;
    }
    let mut is_text = false;
    for line in lines.by_ref() {
        log.lock().expect("no panic").push(line.clone());
        let usual = match line.get(..4).unwrap_or(&line) {
            "." => "250 2.0.0 Ok: queued as 4DzXyz",
            "DATA" => "354 go on",
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        if is_text && line != "." {
            continue;
        }
        is_text = line == "DATA";
        if !reply(&line, usual) || line == "QUIT" {
            return;
        }
    }
}
