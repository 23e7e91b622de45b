//! A client that takes nothing for granted: every response is read by its own framing, and has
//! what RFC 9110 demands of a response with its status.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In their order, the names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub fn method(request: &[u8]) -> String {
    let request = request.trim_ascii_start();
    let end = request.iter().position(|octet| *octet == b' ');
    String::from_utf8_lossy(&request[..end.unwrap_or(0)]).into_owned()
}

impl Client {
    pub fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).expect("it serves");
        stream.set_nodelay(true).expect("a socket");
        let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
        Client { stream, reader }
    }

    #[track_caller]
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).expect("it reads");
    }

    pub fn send_end(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let request = request.as_ref();
        self.send(request);
        let answer = self.receive(&method(request));
        answer.unwrap_or_else(|| panic!("no answer to {}", request.escape_ascii()))
    }

    /// The connection ends here, and orderly.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("an orderly end");
        let start = &rest[..rest.len().min(200)];
        assert!(rest.is_empty(), "unasked: {}", start.escape_ascii());
    }

    /// One response to a request with this method; `None` where the connection ends instead.
    #[track_caller]
    pub fn receive(&mut self, method: &str) -> Option<Answer> {
        let line = self.line()?;
        let (version, rest) = line.split_at_checked(9).expect("a status line");
        assert_eq!(version, "HTTP/1.1 ", "{line}");
        let (status, reason) = rest.split_once(' ').expect("a status line");
        assert!(status.len() == 3 && !reason.is_empty(), "{line}");
        let mut answer = Answer {
            status: status.parse().expect("a status"),
            fields: self.fields(),
            body: Vec::new(),
        };
        answer.check_fields();
        let has_body = method != "HEAD" && !matches!(answer.status, 100..200 | 204 | 304);
        if has_body {
            answer.body = self.body(&answer);
        }
        Some(answer)
    }

    /// Without its CRLF; `None` at the end.
    #[track_caller]
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("a line");
        if line.is_empty() {
            return None;
        }
        let text = line.strip_suffix(b"\r\n").expect("a whole line with CRLF");
        assert!(!text.contains(&b'\r'), "{}", text.escape_ascii());
        Some(String::from_utf8(text.to_vec()).expect("ASCII in the head"))
    }

    #[track_caller]
    fn fields(&mut self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().expect("a field or the head's end");
            if line.is_empty() {
                return fields;
            }
            let (name, value) = line.split_once(": ").expect("a field line");
            let is_name = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
            assert!(name.bytes().all(is_name) && !name.is_empty(), "{line}");
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    #[track_caller]
    fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("a number");
            body.resize(length, 0);
            self.reader.read_exact(&mut body).expect("the whole body");
        } else if let Some(coding) = answer.field("transfer-encoding") {
            assert_eq!(coding, "chunked");
            while let size @ 1.. = self.chunk_size() {
                let start = body.len();
                body.resize(start + size, 0);
                self.reader.read_exact(&mut body[start..]).expect("a chunk");
                assert_eq!(self.line().as_deref(), Some(""), "behind a chunk");
            }
            assert_eq!(self.line().as_deref(), Some(""), "behind the last chunk");
        } else {
            assert!(answer.has("connection", "close"), "no framing: {answer:?}");
            self.reader.read_to_end(&mut body).expect("the whole body");
        }
        body
    }

    fn chunk_size(&mut self) -> usize {
        let line = self.line().expect("a chunk size");
        assert!(line.bytes().all(|digit| digit.is_ascii_hexdigit()));
        usize::from_str_radix(&line, 16).expect("a chunk size")
    }

    /// What comes until the connection ends, however it does.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut octets = [0; 65_536];
        loop {
            match self.reader.read(&mut octets) {
                Ok(0) => return rest,
                Ok(count) => rest.extend_from_slice(&octets[..count]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    return rest;
                }
            }
        }
    }
}

impl Answer {
    /// The value of a field that may be there once.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0 == name);
        let value = values.next().map(|field| field.1.as_str());
        assert_eq!(values.next(), None, "{self:?}");
        value
    }

    /// Whether a list, in one line or several, has this element.
    pub fn has(&self, name: &str, element: &str) -> bool {
        let lines = self.fields.iter().filter(|field| field.0 == name);
        let mut elements = lines.flat_map(|field| field.1.split(',').map(str::trim));
        elements.any(|other| other.eq_ignore_ascii_case(element))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// What should be the same however and whenever it is asked.
    pub fn without_date(mut self) -> Answer {
        self.fields.retain(|field| field.0 != "date");
        self
    }

    #[track_caller]
    fn check_fields(&self) {
        for name in [
            "content-type",
            "etag",
            "last-modified",
            "location",
            "server",
        ] {
            let _ = self.field(name);
        }
        let length = self.field("content-length");
        let coding = self.field("transfer-encoding");
        assert!(length.is_none() || coding.is_none(), "{self:?}");
        if let Some(date) = self.field("date") {
            let _ = parse_date(date);
        }
        let demanded: &[&str] = match self.status {
            100..200 => &[],
            206 if self.has("content-type", "multipart/byteranges") => &["date"],
            206 => &["date", "content-type"],
            301 | 308 => &["date", "location"],
            304 => &["date", "etag"],
            401 => &["date", "www-authenticate"],
            405 => &["date", "allow"],
            416 => &["date", "content-range"],
            500.. => &[],
            _ => &["date"],
        };
        for name in demanded {
            assert!(self.field(name).is_some(), "no {name}: {self:?}");
        }
        match self.status {
            100..200 | 204 => assert!(length.is_none() && coding.is_none(), "{self:?}"),
            304 => assert!(coding.is_none() && length != Some("0"), "{self:?}"),
            _ => {}
        }
    }
}

/// IMF-fixdate, as seconds since 1970.
#[track_caller]
pub fn parse_date(text: &str) -> u64 {
    let time = httpdate::parse_http_date(text).expect("a date");
    assert_eq!(httpdate::fmt_http_date(time), text, "no IMF-fixdate");
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.expect("a date after 1970").as_secs()
}
