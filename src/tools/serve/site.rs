//! What is served and how: the arguments, read once and shared by all loops.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::arguments::Arguments;
use super::representation::{Identity, Representation};
use super::root::Root;
use crate::cause;
use crate::http::head::{Fields, is_token, is_value_octet};
use crate::tool::Error;
use crate::web;
use crate::web::credentials::Credentials;

/// Of compressed files.
const COMPRESSED_OCTETS_MAX: u64 = 32 << 20;

pub(super) struct Site {
    pub(super) root: Root,
    /// The one file that is served, at `/` and by its name.
    pub(super) only: Option<Vec<u8>>,
    pub(super) index: Vec<String>,
    media_types: HashMap<String, String>,
    cache: Vec<(glob::Pattern, u64)>,
    pub(super) shows_hidden: bool,
    pub(super) is_single_page: bool,
    pub(super) is_pretty: bool,
    pub(super) lists: bool,
    pub(super) compresses: bool,
    pub(super) echoes: bool,
    pub(super) measures: bool,
    pub(super) cookie: Option<String>,
    pub(super) cors: Option<String>,
    /// `None`: whatever name the client knows the server by.
    hosts: Option<Vec<String>>,
    credentials: Option<Credentials>,
    /// Field lines that go with every answer.
    pub(super) fields: Vec<u8>,
    /// The server's own pages have a stricter policy of their own.
    pub(super) has_policy: bool,
    pub(super) is_tls: bool,
    pub(super) verbose: bool,
    pub(super) limits: Limits,
    /// Large folders that are being listed.
    pub(super) listings: Arc<AtomicUsize>,
    /// By path, because the fields depend on that too.
    compressed: Mutex<HashMap<CompressedKey, Arc<Representation>>>,
}

/// The resource's path, and what it was made from.
type CompressedKey = (Vec<u8>, Identity);

pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) per_client: usize,
    pub(super) head_octets: usize,
    pub(super) body_octets: u64,
    pub(super) head_time: Duration,
    pub(super) idle_time: Duration,
    pub(super) stall_time: Duration,
    /// Octets a second for each connection.
    pub(super) rate: Option<u64>,
}

impl Site {
    pub(super) fn new(
        arguments: &Arguments,
        credentials: Option<Credentials>,
    ) -> Result<Site, Error> {
        let place = arguments.folder();
        let cannot = |why: String| Error::Usage(format!("cannot serve {}: {why}", place.display()));
        let (folder, only) = match place.is_file() {
            false => (place.clone(), None),
            true => {
                let name = place.file_name().unwrap_or_default();
                let folder = place.parent().filter(|folder| *folder != Path::new(""));
                let folder = folder.unwrap_or(Path::new("."));
                (folder.to_owned(), Some(name.as_bytes().to_vec()))
            }
        };
        let root = Root::open(&folder).map_err(|error| cannot(cause::of(&error)))?;
        let guarded = arguments.bind.is_loopback() || !arguments.allow_host.is_empty();
        Ok(Site {
            root,
            only,
            index: arguments.index.clone(),
            media_types: arguments.mime.iter().cloned().collect(),
            cache: arguments.cache.clone(),
            shows_hidden: arguments.hidden,
            is_single_page: arguments.spa,
            is_pretty: arguments.pretty,
            lists: !arguments.no_listing,
            compresses: arguments.compress,
            echoes: arguments.echo,
            measures: arguments.metrics,
            cookie: arguments.cookie.clone(),
            cors: arguments.cors.clone(),
            hosts: guarded.then(|| arguments.allow_host.clone()),
            credentials,
            fields: fields(arguments),
            has_policy: arguments.secure,
            is_tls: arguments.is_tls(),
            verbose: arguments.verbose,
            limits: Limits {
                connections: arguments.max_connections,
                per_client: arguments.max_per_client,
                head_octets: arguments.max_header,
                body_octets: arguments.max_body,
                head_time: arguments.header_timeout,
                idle_time: arguments.idle_timeout,
                stall_time: arguments.write_timeout,
                rate: arguments.rate,
            },
            listings: Arc::default(),
            compressed: Mutex::default(),
        })
    }

    /// Of a file's name; `None`: its octets must tell.
    pub(super) fn media_type(&self, name: &[u8]) -> Option<String> {
        let name = String::from_utf8_lossy(name);
        let extension = name.rsplit('/').next()?.rsplit_once('.')?.1;
        let own = self.media_types.get(&extension.to_ascii_lowercase());
        let media_type = match own {
            Some(own) => own.clone(),
            None => mime_guess::from_ext(extension).first_raw()?.to_owned(),
        };
        // RFC 9239 section 6 has made these one.
        let media_type = match media_type.as_str() {
            "application/javascript" => "text/javascript".to_owned(),
            _ => media_type,
        };
        let is_text = media_type.starts_with("text/") && !media_type.contains("charset");
        Some(match is_text {
            true => format!("{media_type}; charset=utf-8"),
            false => media_type,
        })
    }

    /// How long clients may keep what lies at this path.
    pub(super) fn cached_for(&self, path: &[u8]) -> Option<u64> {
        let path = String::from_utf8_lossy(path);
        let path = path.trim_start_matches('/');
        let rule = |(pattern, _): &&(glob::Pattern, u64)| {
            let name = path.rsplit('/').next().unwrap_or(path);
            pattern.matches(path) || pattern.matches(name)
        };
        self.cache.iter().find(rule).map(|(_, seconds)| *seconds)
    }

    /// Whether it answers to this host name, which may be an address.
    pub(super) fn is_host(&self, host: &[u8]) -> bool {
        let Some(others) = &self.hosts else {
            return true;
        };
        let name = String::from_utf8_lossy(host);
        let name = name.trim_end_matches('.');
        web::is_this_machine(host) || others.iter().any(|other| other.eq_ignore_ascii_case(name))
    }

    /// Who asks; `Err` where nobody may without saying so.
    pub(super) fn user(&self, fields: &Fields) -> Result<Option<&str>, ()> {
        let Some(credentials) = &self.credentials else {
            return Ok(None);
        };
        match credentials.match_field(fields.first("authorization")) {
            true => Ok(Some(&credentials.user)),
            false => Err(()),
        }
    }

    pub(super) fn compressed(&self, plain: &Representation) -> Option<Arc<Representation>> {
        let compressed = self.compressed.lock();
        let compressed = compressed.unwrap_or_else(PoisonError::into_inner);
        let key = (plain.path.clone(), plain.identity);
        compressed.get(&key).map(Arc::clone)
    }

    pub(super) fn keep_compressed(&self, representation: Representation) {
        let compressed = self.compressed.lock();
        let mut compressed = compressed.unwrap_or_else(PoisonError::into_inner);
        let octets: u64 = compressed.values().map(|kept| kept.size).sum();
        if octets + representation.size > COMPRESSED_OCTETS_MAX {
            compressed.clear();
        }
        let key = (representation.path.clone(), representation.identity);
        compressed.insert(key, Arc::new(representation));
    }
}

fn fields(arguments: &Arguments) -> Vec<u8> {
    let mut fields = "X-Content-Type-Options: nosniff\r\n".to_owned();
    if arguments.secure {
        fields.push_str(
            "X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\n",
        );
        if arguments.is_tls() {
            fields.push_str("Strict-Transport-Security: max-age=31536000\r\n");
        }
    }
    if let Some(origin) = &arguments.cors {
        fields.push_str(&format!(
            "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: \
             Accept-Ranges, Content-Encoding, Content-Length, Content-Range, ETag\r\n"
        ));
        if origin != "*" {
            fields.push_str("Vary: Origin\r\n");
        }
    }
    for (name, value) in &arguments.header {
        fields.push_str(&format!("{name}: {value}\r\n"));
    }
    fields.into()
}

/// `Name: value`, of `--header`. What the server says of the message itself is its own matter.
pub(super) fn parse_field(text: &str) -> Result<(String, String), String> {
    const OWN: [&str; 11] = [
        "accept-ranges",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "server",
        "transfer-encoding",
    ];
    let (name, value) = text.split_once(':').ok_or("write 'Name: value'")?;
    let value = value.trim();
    if !is_token(name.as_bytes()) {
        return Err("the name must be letters, digits and hyphens".to_owned());
    }
    if !value.bytes().all(is_value_octet) {
        return Err("the value must be one line without control characters".to_owned());
    }
    if OWN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("{name} is set by the server itself"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// `glob=seconds`, of `--cache`.
pub(super) fn parse_cache(text: &str) -> Result<(glob::Pattern, u64), String> {
    let (pattern, seconds) = text.rsplit_once('=').ok_or("write GLOB=SECONDS")?;
    let pattern = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
    let seconds = seconds.parse().map_err(|_| "write whole seconds")?;
    Ok((pattern, seconds))
}

/// `extension=type`, of `--mime`.
pub(super) fn parse_media_type(text: &str) -> Result<(String, String), String> {
    let (extension, media_type) = text.split_once('=').ok_or("write EXTENSION=TYPE/SUBTYPE")?;
    let is_type = media_type
        .split_once('/')
        .is_some_and(|(kind, _)| is_token(kind.as_bytes()));
    if !is_type || !media_type.bytes().all(is_value_octet) {
        return Err("a media type looks like text/plain".to_owned());
    }
    let extension = extension.trim_start_matches('.').to_ascii_lowercase();
    Ok((extension, media_type.to_owned()))
}

pub(super) fn parse_cookie(text: &str) -> Result<String, &'static str> {
    match is_token(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err("a cookie's name has letters, digits and hyphens"),
    }
}
