//! An origin that does what it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Longer than anything takes here; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Accepts by hand: each connection is a conversation of the test.
pub struct Origin {
    listener: Listening,
    pub address: String,
}

/// Ends with its value. Closing a descriptor is not enough for that: a process that another test
/// starts at this moment holds a copy until it runs its own program.
struct Listening(TcpListener);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = socket2::SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

pub struct Connection {
    pub stream: TcpStream,
    came: Vec<u8>,
}

/// At once, as `Listening`.
impl Drop for Connection {
    fn drop(&mut self) {
        let socket = socket2::SockRef::from(&self.stream);
        if !matches!(socket.linger(), Ok(Some(Duration::ZERO))) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Origin {
    pub fn new() -> Origin {
        Origin::at("127.0.0.1:0")
    }

    /// Like `127.0.0.1:0`.
    pub fn at(address: &str) -> Origin {
        let listener = TcpListener::bind(address).expect("an address of this machine");
        let address = listener.local_addr().expect("bound").to_string();
        Origin {
            listener: Listening(listener),
            address,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn accept(&self) -> Connection {
        let (sender, receiver) = channel();
        let listener = self.listener.0.try_clone().expect("a descriptor");
        thread::spawn(move || sender.send(listener.accept()));
        let accepted = receiver.recv_timeout(PATIENCE).expect("a connection");
        let (stream, _) = accepted.expect("a connection");
        Connection::of(stream)
    }

    /// Whether another connection waits to be accepted.
    pub fn has_more(&self) -> bool {
        self.listener.0.set_nonblocking(true).expect("a socket");
        let accepted = self.listener.0.accept();
        self.listener.0.set_nonblocking(false).expect("a socket");
        accepted.is_ok()
    }

    /// Answers all by itself from now on: `answer` gets each request's head and says the octets
    /// of the answer. Connections persist.
    pub fn answering(self, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Answering {
        self.conversing(move |connection, head| {
            let _ = connection.stream.write_all(&answer(head));
        })
    }

    /// The same where an answer takes more than its octets: `converse` gets each request's head
    /// and the connection it came by.
    pub fn conversing(
        self,
        converse: impl Fn(&mut Connection, &str) + Send + Sync + 'static,
    ) -> Answering {
        let (heads, converse) = (Arc::new(Mutex::new(Vec::new())), Arc::new(converse));
        let (address, seen) = (self.address.clone(), Arc::clone(&heads));
        thread::spawn(move || {
            let listener = self.listener;
            for stream in listener.0.incoming().flatten() {
                let (seen, converse) = (Arc::clone(&seen), Arc::clone(&converse));
                stream.set_nodelay(true).expect("a socket");
                thread::spawn(move || {
                    let mut connection = Connection {
                        stream,
                        came: Vec::new(),
                    };
                    while let Some(head) = connection.try_head() {
                        seen.lock().expect("no panic").push(head.clone());
                        converse(&mut connection, &head);
                    }
                });
            }
        });
        Answering { address, heads }
    }

    /// Answers each request with itself: its head, and its body without the framing.
    pub fn echoing(self) -> Answering {
        self.conversing(|connection, head| {
            let body = connection.body(head);
            let echo = [head.as_bytes(), &body].concat();
            let _ = connection.stream.write_all(&answer("", echo));
        })
    }

    /// The proxy has not connected once more.
    #[track_caller]
    pub fn expect_no_more(&self) {
        assert!(self.try_accept().is_none(), "nobody connects");
    }

    /// A connection that is there already.
    pub fn try_accept(&self) -> Option<Connection> {
        self.listener.0.set_nonblocking(true).expect("a socket");
        let accepted = self.listener.0.accept();
        self.listener.0.set_nonblocking(false).expect("a socket");
        match accepted {
            Ok((stream, _)) => Some(Connection::of(stream)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                None
            }
        }
    }
}

pub struct Answering {
    pub address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Answering {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

impl Connection {
    fn of(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Connection {
            stream,
            came: Vec::new(),
        }
    }

    /// A request's head as it came, with its empty line.
    #[track_caller]
    pub fn head(&mut self) -> String {
        self.try_head().expect("a request")
    }

    fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.came.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.came.split_off(end + 4);
                let head = std::mem::replace(&mut self.came, rest);
                return Some(String::from_utf8(head).expect("ASCII"));
            }
            if !self.receive() {
                return None;
            }
        }
    }

    /// So many octets of what follows.
    #[track_caller]
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        while self.came.len() < count {
            assert!(
                self.receive(),
                "it ended behind {}",
                self.came.escape_ascii()
            );
        }
        let rest = self.came.split_off(count);
        std::mem::replace(&mut self.came, rest)
    }

    /// Everything until the proxy ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive() {}
        std::mem::take(&mut self.came)
    }

    /// The body behind this head, without its framing.
    #[track_caller]
    pub fn body(&mut self, head: &str) -> Vec<u8> {
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        if let Some(length) = value("Content-Length: ") {
            return self.octets(length.parse().expect("a length"));
        }
        let mut body = Vec::new();
        let mut is_over = value("Transfer-Encoding: chunked").is_none();
        while !is_over {
            let size = usize::from_str_radix(&self.line(), 16).expect("a chunk size");
            body.extend(self.octets(size));
            is_over = size == 0;
            while !self.line().is_empty() {
                assert!(is_over, "behind a chunk");
            }
        }
        body
    }

    /// Without its CRLF.
    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.octets(1));
        }
        String::from_utf8(line[..line.len() - 2].to_vec()).expect("ASCII")
    }

    fn receive(&mut self) -> bool {
        let mut octets = [0; 65_536];
        match self.stream.read(&mut octets) {
            Ok(0) => false,
            Ok(count) => {
                self.came.extend_from_slice(&octets[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive(),
            Err(error) => panic!("the proxy sends nothing: {error}"),
        }
    }

    #[track_caller]
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).expect("it reads");
    }

    pub fn send_end(&self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }

    /// Ends at once, so that the proxy gets a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    /// The other end, a client's.
    pub fn to(address: &str) -> Connection {
        Connection::of(TcpStream::connect(address).expect("it serves"))
    }
}

/// An answer with a length.
pub fn answer(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An origin that answers what the request wants it to: each of its `Say` fields is a line of the
/// answer, and one that begins with a digit is the status. The body counts the answers.
pub fn obliging() -> Answering {
    let count = AtomicUsize::new(0);
    Origin::new().answering(move |head| {
        let body = format!("answer {}", count.fetch_add(1, Ordering::SeqCst) + 1);
        let lines = || head.lines().filter_map(|line| line.strip_prefix("Say: "));
        let is_status = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
        let status = lines().find(is_status).unwrap_or("200 OK");
        let fields: String = lines()
            .filter(|line| !is_status(line))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let has_body = !head.starts_with("HEAD ") && !status.starts_with("304");
        let length = match has_body {
            true => format!("Content-Length: {}\r\n", body.len()),
            false => String::new(),
        };
        let body = if has_body { &*body } else { "" };
        let fields = format!("Content-Type: text/plain\r\n{length}{fields}");
        format!("HTTP/1.1 {status}\r\n{fields}\r\n{body}").into_bytes()
    })
}
