//! Resolving, connecting, asking, and following redirects.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use super::Arguments;
use super::body::Sink;
use super::report::{self, Answer, Times};
use super::save::Download;
use super::url::Url;
use crate::http::client::{self, Response, exchange};
use crate::http::request::parse_authority;
use crate::net;
use crate::net::dial::dial;
use crate::net::resolve::{Family, resolve};
use crate::net::tcp::Connection;
use crate::net::tls::trust::{Scrutiny, Trust};
use crate::net::tls::{self, Stream, files};
use crate::tool::{Context, Error, Status};
use crate::{cause, clock};

/// For the proxy, and nobody behind it.
const PROXY_AUTHORIZATION: &str = "proxy-authorization";
const REDIRECTS_MAX: usize = 10;
/// Read into memory before it is sent.
const DATA_OCTETS_MAX: u64 = 64 << 20;

struct Request<'a> {
    url: Url,
    method: &'a str,
    fields: Vec<(String, String)>,
    data: Option<Vec<u8>>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Status, Error> {
    let usage = |error: super::url::Invalid| Error::Usage(error.to_string());
    let url = Url::parse(&arguments.url).map_err(usage)?;
    let trust = trust(arguments)?;
    let proxy = arguments.via.as_deref().map(parse_proxy).transpose()?;
    let mut download = arguments.output.as_deref().map(|file| {
        let kept = arguments.resume;
        Download::new(file, kept)
    });
    let mut request = Request {
        url,
        method: arguments.method(),
        fields: arguments.fields.clone(),
        data: arguments.data.as_deref().map(data).transpose()?,
    };
    for _ in 0..=REDIRECTS_MAX {
        let asked = Ask {
            context,
            arguments,
            trust: &trust,
            proxy: proxy.as_ref(),
        };
        let (mut response, times) = asked.ask(&request, download.as_mut())?;
        let status = response
            .parsed()
            .map_err(|error| explain(error, &request.url))?
            .status;
        if arguments.location
            && let Some(next) = redirect(&response, &request.url)?
        {
            request = request.towards(next, status);
            continue;
        }
        if arguments.head {
            report::print_head(context, &response.head);
        }
        if let Some(download) = &download
            && download.is_complete(&response)
        {
            download.adopt()?;
            context.out.notice("the file was complete already");
            return Ok(Status::OK);
        }
        let (octets, times) = asked.receive(&request, &mut response, download, times)?;
        let answer = Answer::new(&request.url, &response, octets, &times);
        return report::conclude(context, arguments, answer);
    }
    Err(Error::Negative(format!(
        "{} leads from one redirect to the next; given up after {REDIRECTS_MAX}",
        arguments.url
    )))
}

impl Request<'_> {
    /// RFC 9110 section 15.4: 303 makes any method GET, and 301 and 302 do it with POST.
    fn towards(mut self, next: Url, status: u16) -> Self {
        let becomes_get = match status {
            303 => self.method != "HEAD",
            301 | 302 => self.method == "POST",
            _ => false,
        };
        if becomes_get {
            self.method = "GET";
            self.data = None;
        }
        if next.origin() != self.url.origin() {
            // What was meant for one site is not for another.
            let secret = ["authorization", "cookie", "host", PROXY_AUTHORIZATION];
            self.fields
                .retain(|(name, _)| !secret.contains(&name.to_ascii_lowercase().as_str()));
        }
        self.url = next;
        self
    }
}

fn redirect(response: &Response, url: &Url) -> Result<Option<Url>, Error> {
    let head = response.parsed().map_err(|error| explain(error, url))?;
    if !matches!(head.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = head.fields.first("location") else {
        return Ok(None);
    };
    let location = String::from_utf8_lossy(location);
    let joined = url.join(&location);
    let told = |error| Error::Negative(format!("{} redirects wrongly: {error}", url.text));
    joined.map(Some).map_err(told)
}

struct Ask<'a> {
    context: &'a Context,
    arguments: &'a Arguments,
    trust: &'a Trust,
    proxy: Option<&'a (String, u16)>,
}

impl Ask<'_> {
    fn ask(
        &self,
        request: &Request,
        download: Option<&mut Download>,
    ) -> Result<(Response, Times), Error> {
        let url = &request.url;
        let mut times = Times::start();
        let stream = self.connect(url, &mut times)?;
        let head = self.head(request, download);
        if self.arguments.verbose {
            report::show_head(self.context, '>', &head);
        }
        let mut octets = head;
        octets.extend_from_slice(request.data.as_deref().unwrap_or_default());
        let patience = self.arguments.timeout;
        let response = exchange(stream, request.method, &octets, patience);
        let response = response.map_err(|error| explain(error, url))?;
        times.first_octet = Some(response.began);
        if self.arguments.verbose {
            report::show_head(self.context, '<', &response.head);
        }
        Ok((response, times))
    }

    fn head(&self, request: &Request, download: Option<&mut Download>) -> Vec<u8> {
        let url = &request.url;
        let target = match (self.proxy, url.is_tls) {
            (Some(_), false) => &url.text,
            _ => &url.target,
        };
        let has = |wanted: &str| {
            let mut fields = request.fields.iter();
            fields.any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        let mut head = format!("{} {target} HTTP/1.1\r\n", request.method);
        let mut field = |name: &str, value: &str| {
            if !has(name) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        field("Host", &url.authority);
        field("User-Agent", concat!("nsh/", env!("CARGO_PKG_VERSION")));
        field("Accept", "*/*");
        field("Connection", "close");
        if let Some(data) = &request.data {
            field("Content-Type", "application/x-www-form-urlencoded");
            field("Content-Length", &data.len().to_string());
        } else if matches!(request.method, "POST" | "PUT" | "PATCH") {
            field("Content-Length", "0");
        }
        if let Some((range, validator)) = download.and_then(|download| download.resume()) {
            field("Range", &range);
            field("If-Range", &validator);
        }
        for (name, value) in &request.fields {
            if !(url.is_tls && name.eq_ignore_ascii_case(PROXY_AUTHORIZATION)) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    fn connect(&self, url: &Url, times: &mut Times) -> Result<Stream, Error> {
        let (cancel, patience) = (&self.context.cancel, self.arguments.timeout);
        let (host, port) = match self.proxy {
            Some((host, port)) => (host.as_str(), *port),
            None => (url.host.as_str(), url.port),
        };
        let addresses = resolve(host, port, Family::Any, cancel)?;
        times.resolved = Some(clock::now());
        let connection = dial(&addresses, clock::now() + patience, cancel)
            .and_then(|(stream, peer)| Connection::dialled(stream, peer, cancel))
            .map_err(|error| refused(error, url, self.proxy.is_some()))?;
        times.connected = Some(clock::now());
        let stream = Stream::Plain(connection);
        if !url.is_tls {
            return Ok(stream);
        }
        let stream = match self.proxy {
            Some(_) => open_tunnel(stream, url, &self.arguments.fields, patience)?,
            None => stream,
        };
        let Stream::Plain(connection) = stream else {
            return Ok(stream);
        };
        let deadline = clock::now() + patience;
        let secured = tls::connect(connection, &url.host, self.trust, deadline)?;
        times.secured = Some(clock::now());
        Ok(secured)
    }

    fn receive(
        &self,
        request: &Request,
        response: &mut Response,
        download: Option<Download>,
        mut times: Times,
    ) -> Result<(u64, Times), Error> {
        let url = &request.url;
        let head = response.parsed().map_err(|error| explain(error, url))?;
        let mut sink = match download {
            Some(download) if head.status < 400 => {
                download.begin(self.context, &head, response.announced)?
            }
            Some(_) | None => Sink::stdout(self.context, &head),
        };
        let mut piece = Vec::new();
        loop {
            piece.clear();
            match response.read(&mut piece) {
                Ok(true) => sink.write(self.context, &piece)?,
                Ok(false) => break,
                Err(error) => {
                    let kept = sink.broken();
                    return Err(with_kept(explain(error, url), kept));
                }
            }
        }
        times.ended = Some(clock::now());
        let octets = sink.finish(self.context)?;
        Ok((octets, times))
    }
}

fn with_kept(error: Error, kept: Option<String>) -> Error {
    match (error, kept) {
        (Error::Unavailable(text), Some(kept)) => Error::Unavailable(format!("{text}; {kept}")),
        (Error::TimedOut(text), Some(kept)) => Error::TimedOut(format!("{text}; {kept}")),
        (error, _) => error,
    }
}

/// RFC 9110 section 9.3.6.
fn open_tunnel(
    mut stream: Stream,
    url: &Url,
    fields: &[(String, String)],
    patience: Duration,
) -> Result<Stream, Error> {
    let host = match url.host.contains(':') {
        true => format!("[{}]:{}", url.host, url.port),
        false => format!("{}:{}", url.host, url.port),
    };
    let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in fields {
        if name.eq_ignore_ascii_case(PROXY_AUTHORIZATION) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    request.push_str("\r\n");
    let deadline: Instant = clock::now() + patience;
    stream.write_all(request.as_bytes(), deadline)?;
    let mut buffer = Vec::new();
    let read = client::read_final_head(&mut stream, &mut buffer, patience);
    let (head, _) = read.map_err(|error| explain(error, url))?;
    let head = crate::http::head::parse_response(&head);
    let head = head.map_err(|refusal| explain(refusal.into(), url))?;
    match head.status {
        200..300 if buffer.is_empty() => Ok(stream),
        200..300 => Err(Error::Unavailable(
            "the proxy sent something before the server could".to_owned(),
        )),
        status => Err(Error::Unavailable(format!(
            "the proxy does not open a tunnel to {host}: {status} {}",
            String::from_utf8_lossy(head.reason)
        ))),
    }
}

fn refused(error: net::Error, url: &Url, is_proxy: bool) -> Error {
    let is_refused = matches!(error, net::Error::Refused(_));
    match Error::from(error) {
        Error::Unavailable(text) if is_refused && !is_proxy => Error::Unavailable(format!(
            "{text}; start one there with 'serve -p {}'",
            url.port
        )),
        error => error,
    }
}

fn explain(error: client::Error, url: &Url) -> Error {
    match error {
        client::Error::Net(net::Error::TimedOut(text)) => {
            Error::TimedOut(format!("{}: {text}", url.text))
        }
        client::Error::Net(error) => error.into(),
        error => Error::Unavailable(format!("{}: {error}", url.text)),
    }
}

fn trust(arguments: &Arguments) -> Result<Trust, Error> {
    let authorities = match &arguments.ca {
        Some(file) => files::certificates(file).map_err(|error| Error::Usage(error.to_string()))?,
        None => Vec::new(),
    };
    Ok(Trust {
        authorities,
        scrutiny: match arguments.insecure {
            true => Scrutiny::None,
            false => Scrutiny::Strict,
        },
    })
}

fn parse_proxy(text: &str) -> Result<(String, u16), Error> {
    let bare = text.strip_prefix("http://").unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    match parse_authority(bare.as_bytes()) {
        Ok(authority) if authority.port.is_some() => {
            let host = String::from_utf8_lossy(authority.host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((host.to_owned(), authority.port.unwrap_or_default()))
        }
        _ => Err(Error::Usage(format!(
            "--via wants HOST:PORT, like 127.0.0.1:8888, not '{text}'"
        ))),
    }
}

fn data(text: &str) -> Result<Vec<u8>, Error> {
    let Some(file) = text.strip_prefix('@') else {
        return Ok(text.as_bytes().to_vec());
    };
    let cannot = |why: String| Error::Usage(format!("cannot send {file}: {why}"));
    let opened = File::open(file).map_err(|error| cannot(cause::of(&error)))?;
    let mut data = Vec::new();
    let read = opened.take(DATA_OCTETS_MAX + 1).read_to_end(&mut data);
    match read.map_err(|error| cannot(cause::of(&error)))? as u64 {
        0..=DATA_OCTETS_MAX => Ok(data),
        _ => Err(cannot("it is larger than 64 MiB".to_owned())),
    }
}
