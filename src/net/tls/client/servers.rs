//! Servers with certificates by OpenSSL's own tool, since native-tls makes none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

use native_tls::TlsAcceptor;
use tempfile::TempDir;

use crate::net::tls::files::{self, Identity};

pub(super) const GREETING: &[u8] = b"220 mx.example ESMTP\r\n";

/// An authority, and what it certified.
pub(super) struct Place(pub(super) TempDir);

impl Place {
    pub(super) fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("room on the disk"));
        place.openssl(
            "req -x509 -newkey KEY -nodes -days 2 -subj /CN=Root -keyout root.key -out root.pem",
        );
        place
    }

    /// In the file NAME.pem, its key in NAME.key.
    pub(super) fn certify(&self, name: &str, alternative: &str, days: &str) {
        self.openssl(&format!(
            "req -newkey KEY -nodes -subj /CN={name} -addext subjectAltName={alternative} \
             -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA root.pem -CAkey root.key -CAcreateserial -days {days} \
             -copy_extensions copy -out {name}.pem"
        ));
    }

    pub(super) fn openssl(&self, arguments: &str) {
        let arguments = arguments.replace("KEY", "ec -pkeyopt ec_paramgen_curve:P-256");
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ').filter(|word| !word.is_empty()));
        let made = command.current_dir(&self.0).output().expect("openssl");
        assert!(made.status.success(), "{made:?}");
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        let file = |end: &str| self.0.path().join(format!("{name}.{end}"));
        files::pem(&file("pem"), &file("key")).expect("a certificate")
    }

    pub(super) fn acceptor(&self, name: &str) -> TlsAcceptor {
        self.identity(name).acceptor().expect("an acceptor")
    }
}

/// One connection after the other, each in the hands of `serve`.
pub(super) fn listen(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    address
}

/// A server that greets over TLS and waits for the client to leave.
pub(super) fn secure(acceptor: TlsAcceptor) -> SocketAddr {
    listen(move |stream| {
        if let Ok(mut stream) = acceptor.accept(stream) {
            let _ = stream.write_all(GREETING);
            let _ = stream.read(&mut [0; 64]);
        }
    })
}

/// Says this, whatever comes, and then waits for the client to leave.
pub(super) fn plain(text: &'static [u8]) -> SocketAddr {
    listen(move |mut stream| {
        let _ = stream.write_all(text);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// OpenSSL's server, which turns lines around. native-tls's has no TLS 1.3, and asks for no
/// certificate.
pub(super) struct Reversing(Child, pub(super) SocketAddr);

impl Reversing {
    pub(super) fn start(place: &Place, options: &str) -> Reversing {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev"])
            .args(["-cert", "good.pem", "-key", "good.key"])
            .args(options.split_whitespace())
            .current_dir(&place.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let told = BufReader::new(child.stdout.take().expect("piped"));
        let mut lines = told.lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok());
        // What it says later on must go somewhere.
        thread::spawn(move || lines.for_each(drop));
        Reversing(child, address.expect("an address"))
    }
}

impl Drop for Reversing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
