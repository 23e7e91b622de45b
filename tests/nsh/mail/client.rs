//! A client that takes nothing for granted: every line of a reply is as RFC 5321 section 4.2 has
//! it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use native_tls::{Certificate, TlsConnector};

pub struct Client {
    pub tcp: TcpStream,
    stream: BufReader<Box<dyn Stream>>,
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

impl Client {
    pub fn connect(address: &str) -> Client {
        let tcp = TcpStream::connect(address).expect("it serves");
        tcp.set_nodelay(true).expect("a socket");
        let stream = tcp.try_clone().expect("a descriptor");
        Client {
            tcp,
            stream: BufReader::new(Box::new(stream)),
        }
    }

    /// Goes on with TLS, and wants this certificate.
    #[track_caller]
    pub fn secure(self, certificate: &str) -> Client {
        assert!(self.stream.buffer().is_empty(), "plain text before TLS");
        let certificate = Certificate::from_pem(certificate.as_bytes()).expect("PEM");
        let connector = TlsConnector::builder()
            .add_root_certificate(certificate)
            .build()
            .expect("a connector");
        let stream = self.tcp.try_clone().expect("a descriptor");
        let stream = connector.connect("localhost", stream).expect("TLS");
        Client {
            tcp: self.tcp,
            stream: BufReader::new(Box::new(stream)),
        }
    }

    #[track_caller]
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        let sent = self.stream.get_mut().write_all(octets.as_ref());
        sent.expect("it reads");
    }

    pub fn send_end(&mut self) {
        self.tcp.shutdown(Shutdown::Write).expect("it is open");
    }

    /// Without its CRLF; `None` at the end, which is an orderly one.
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        if read.expect("an orderly end") == 0 {
            return None;
        }
        let shown = line.escape_ascii().to_string();
        assert!(line.len() <= 512, "{shown}");
        let text = line.strip_suffix(b"\r\n").expect(&shown);
        assert!(
            matches!(
                text,
                [b'2'..=b'5', b'0'..=b'5', b'0'..=b'9', b' ' | b'-', ..]
            ),
            "{shown}"
        );
        assert!(!text.contains(&b'\r'), "{shown}");
        Some(String::from_utf8(text.to_vec()).expect("UTF-8"))
    }

    /// Says the lines with `C: `, and wants the others.
    #[track_caller]
    pub fn check(&mut self, transcript: &str) {
        for line in transcript.lines().map(str::trim_start) {
            match line.strip_prefix("C: ") {
                Some(said) => self.send(format!("{said}\r\n")),
                None => assert_eq!(self.line().as_deref(), Some(line)),
            }
        }
    }

    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.line(), None);
    }
}
