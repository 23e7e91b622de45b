//! A server by hand: it says what its script has, and wants to hear what its script has.
//!
//! `S: ` is a line of the server's, with escapes like `\x1b`; `S+ ` the same without the CRLF.
//! `C: ` is a line that the client has to say, in which `...` stands for anything. `BODY` reads to
//! the line with the dot, `TLS` shakes hands, `WAIT` waits until the client leaves and `RESET` ends
//! the connection without an end. `ENDLESS ` repeats its text until the client leaves, and `DRIP `
//! lets an octet fall every now and then, the last one again and again. At the end of the script the server leaves.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use native_tls::{Identity, TlsAcceptor};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

use crate::support::{Place, Ran, matches, place};

pub struct Server {
    pub address: String,
    /// As long as it is open, a client is waited for.
    patience: UnixStream,
    thread: JoinHandle<String>,
}

/// An authority, `root.pem`, in a fresh place.
pub fn authority() -> Place {
    let place = place();
    place.openssl(
        "req -x509 -newkey KEY -nodes -days 2 -subj /CN=Root -keyout root.key -out root.pem",
    );
    place
}

/// `cert.pem` and `key.pem`, signed by the authority.
pub fn certify(place: &Place, alternative: &str, days: &str) {
    place.openssl(&format!(
        "req -newkey KEY -nodes -subj /CN=mx.test -addext subjectAltName={alternative} \
             -keyout key.pem -out cert.csr"
    ));
    place.openssl(&format!(
        "x509 -req -in cert.csr -CA root.pem -CAkey root.key -CAcreateserial -days {days} \
             -copy_extensions copy -out cert.pem"
    ));
}

/// What was said to the client, and what came of it.
pub struct Told {
    pub place: Place,
    pub ran: Ran,
    /// What the client has said.
    pub said: String,
}

/// Enough for a message: the rest is in `options`.
pub const LETTER: &str = "--from ann@a.test --to bob@b.test --subject s --body text --ehlo c.test";

/// The reply to EHLO, and what comes before it.
pub const HELLO: &str = "S: 220 mx.test ESMTP\nC: EHLO c.test\nS: 250 mx.test\n";

/// From MAIL to the dot.
pub const ENVELOPE: &str = "C: MAIL FROM:<ann@a.test>
    S: 250 2.1.0 ok
    C: RCPT TO:<bob@b.test>
    S: 250 2.1.5 ok
    C: DATA
    S: 354 go on
    BODY
    ";

pub const BYE: &str = "C: QUIT\nS: 221 bye\n";

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

pub struct Conversation {
    tcp: TcpStream,
    stream: Option<BufReader<Box<dyn Stream>>>,
    /// PEM, the certificate and the key.
    certificate: (String, String),
    said: String,
    is_reset: bool,
}

impl Server {
    pub fn start(script: &str) -> Server {
        Server::certified(script, ("", ""))
    }

    pub fn start_in(place: &Place, script: &str) -> Server {
        let (certificate, key) = (place.read("cert.pem"), place.read("key.pem"));
        Server::certified(script, (&certificate, &key))
    }

    fn certified(script: &str, (certificate, key): (&str, &str)) -> Server {
        let script = script.to_owned();
        let certificate = (certificate.to_owned(), key.to_owned());
        Server::by(certificate, move |conversation| conversation.play(&script))
    }

    /// By what the conversation brings.
    pub fn by(
        certificate: (String, String),
        talk: impl FnOnce(&mut Conversation) + Send + 'static,
    ) -> Server {
        Server::listening(move |listener, impatience| {
            let tcp = accept(&listener, &impatience);
            drop(listener);
            let mut conversation = Conversation::new(tcp, certificate);
            talk(&mut conversation);
            conversation.leave()
        })
    }

    /// A connection for each script, one after the other.
    pub fn of_several(scripts: Vec<String>) -> Server {
        Server::listening(move |listener, impatience| {
            let said = scripts.iter().map(|script| {
                let tcp = accept(&listener, &impatience);
                let mut conversation = Conversation::new(tcp, Default::default());
                conversation.play(script);
                conversation.leave()
            });
            said.collect()
        })
    }

    fn listening(serve: impl FnOnce(TcpListener, UnixStream) -> String + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        let (patience, impatience) = UnixStream::pair().expect("descriptors");
        let thread = std::thread::spawn(move || serve(listener, impatience));
        Server {
            address,
            patience,
            thread,
        }
    }

    /// What the client has said, when the script was played to its end.
    #[track_caller]
    pub fn end(self) -> String {
        let _ = self.patience.shutdown(Shutdown::Both);
        match self.thread.join() {
            Ok(said) => said,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// A client, unless nobody is going to come any more.
fn accept(listener: &TcpListener, impatience: &UnixStream) -> TcpStream {
    let mut fds = [listener.as_fd(), impatience.as_fd()]
        .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::NONE).expect("a wait");
    assert_eq!(fds[0].any(), Some(true), "no client came");
    listener.accept().expect("a client").0
}

/// Runs `mail` against the script; the server's address is `--server`'s.
#[track_caller]
pub fn tell(options: &str, script: &str) -> Told {
    tell_in(place(), &format!("--tls none {LETTER} {options}"), script)
}

/// The same with all options given, and with certificates in the place.
#[track_caller]
pub fn tell_in(place: Place, options: &str, script: &str) -> Told {
    let server = match place.path().join("cert.pem").exists() {
        true => Server::start_in(&place, script),
        false => Server::start(script),
    };
    let line = format!("mail --server {} {options}", server.address);
    let ran = place.run(&["-c", &line]);
    let finished = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.end()));
    match finished {
        Ok(said) => Told { place, ran, said },
        Err(_) => panic!("the script was not played; nsh: {ran:?}"),
    }
}

/// The exit status, and a part of what is printed.
#[track_caller]
pub fn check(options: &str, script: &str, status: i32, expected: &str) -> Told {
    let told = tell(options, script);
    told.check(status, expected);
    told
}

impl Told {
    #[track_caller]
    pub fn check(&self, status: i32, expected: &str) {
        let Ran { stdout, .. } = &self.ran;
        let is_told = matches(&format!("...{expected}..."), stdout);
        assert!(is_told, "expected {expected:?} in {:#?}", self.ran);
        assert_eq!(self.ran.status, status, "{:#?}", self.ran);
    }

    /// The messages that are kept since nobody knows what became of them.
    pub fn drafts(&self) -> Vec<std::path::PathBuf> {
        let folder = self.place.path().join(".local/state/nsh/drafts");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }
}

impl Conversation {
    fn new(tcp: TcpStream, certificate: (String, String)) -> Conversation {
        tcp.set_nodelay(true).expect("a socket");
        // A client that says nothing fails its test instead of hanging it.
        let patience = Some(Duration::from_secs(60));
        tcp.set_read_timeout(patience).expect("a socket");
        let stream = tcp.try_clone().expect("a descriptor");
        Conversation {
            tcp,
            stream: Some(BufReader::new(Box::new(stream))),
            certificate,
            said: String::new(),
            is_reset: false,
        }
    }

    pub fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim_start) {
            match line.split_at_checked(3) {
                Some(("S: ", text)) => self.say(&[unescape(text), b"\r\n".to_vec()].concat()),
                Some(("S+ ", text)) => self.say(&unescape(text)),
                Some(("C: ", pattern)) => {
                    let heard = self.hear();
                    let is_expected = heard.strip_suffix("\r\n");
                    let is_expected = is_expected.is_some_and(|heard| matches(pattern, heard));
                    assert!(is_expected, "expected {pattern:?}, heard {heard:?}");
                }
                _ if line.starts_with("ENDLESS ") => self.repeat(&unescape(&line[8..])),
                _ if line.starts_with("DRIP ") => self.drip(&unescape(&line[5..])),
                _ => match line {
                    "" => {}
                    "BODY" => while !matches!(&*self.hear(), ".\r\n" | "") {},
                    "TLS" => self.secure(),
                    "WAIT" => self.hear_rest(),
                    "RESET" => self.reset(),
                    _ => panic!("not a script: {line:?}"),
                },
            }
        }
    }

    /// The client may have left already.
    pub fn say(&mut self, octets: &[u8]) {
        let stream = self.stream().get_mut();
        let _ = stream.write_all(octets).and_then(|()| stream.flush());
    }

    /// A line as it came; what there is of it at the end.
    pub fn hear(&mut self) -> String {
        let mut line = Vec::new();
        let _ = self.stream().read_until(b'\n', &mut line);
        let line = String::from_utf8_lossy(&line).into_owned();
        self.said += &line;
        line
    }

    fn hear_rest(&mut self) {
        while !self.hear().is_empty() {}
    }

    fn repeat(&mut self, octets: &[u8]) {
        let stream = self.stream().get_mut();
        while stream.write_all(octets).is_ok() {}
    }

    fn drip(&mut self, octets: &[u8]) {
        let pause = Some(Duration::from_millis(10));
        self.tcp.set_read_timeout(pause).expect("a socket");
        let last = octets.last().expect("an octet");
        for octet in octets.iter().chain(std::iter::repeat(last)) {
            self.say(&[*octet]);
            let heard = self.tcp.read(&mut [0; 1]).map_err(|error| error.kind());
            let has_time = matches!(heard, Err(ErrorKind::WouldBlock | ErrorKind::Interrupted));
            if !has_time {
                return;
            }
        }
    }

    fn secure(&mut self) {
        let (certificate, key) = &self.certificate;
        let identity = Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes());
        let acceptor = TlsAcceptor::new(identity.expect("a certificate")).expect("an acceptor");
        let plain = self.stream.take().expect("a stream");
        assert!(plain.buffer().is_empty(), "the client did not wait for TLS");
        let tcp = self.tcp.try_clone().expect("a descriptor");
        // A client that refuses TLS says why by itself; the rest of the script hears nothing.
        self.stream = acceptor.accept(tcp).ok().map(|stream| {
            let stream: Box<dyn Stream> = Box::new(stream);
            BufReader::new(stream)
        });
        if self.stream.is_none() {
            self.stream = Some(BufReader::new(Box::new(std::io::empty())));
        }
    }

    fn reset(&mut self) {
        self.is_reset = true;
        let linger = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        linger.expect("a socket");
    }

    /// Nothing is cut off that the client has not read.
    fn leave(mut self) -> String {
        if !self.is_reset {
            let _ = self.tcp.shutdown(Shutdown::Write);
            self.hear_rest();
        }
        self.said
    }

    fn stream(&mut self) -> &mut BufReader<Box<dyn Stream>> {
        self.stream.as_mut().expect("a stream")
    }
}

/// `\xNN`, `\r`, `\n` and `\\`.
fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        octets.extend(before.as_bytes());
        let (octet, taken) = match escape.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'x', ..] => {
                let digits = escape.get(1..3).expect("two digits");
                (u8::from_str_radix(digits, 16).expect("two digits"), 3)
            }
            _ => (b'\\', 1),
        };
        octets.push(octet);
        rest = &escape[taken..];
    }
    octets.extend(rest.as_bytes());
    octets
}
