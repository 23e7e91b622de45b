//! A connection to a server of mail, in clear or not.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::broken::Broken;
use super::dane;
use crate::net::tls::Stream;
use crate::net::tls::client::{self, Options, Session};

/// A connection, which TLS may protect already.
pub(super) struct Line {
    stream: Option<Stream>,
    pub(super) peer: SocketAddr,
    /// The own address.
    pub(super) local: IpAddr,
    pub(super) session: Option<Session>,
    /// How long the handshake took.
    pub(super) tls_time: Duration,
    /// Why there is no TLS, after an attempt.
    pub(super) broken: Option<Broken>,
    pub(super) dane: Option<dane::Verdict>,
}

impl Line {
    pub(super) fn new(
        stream: Stream,
        peer: SocketAddr,
        local: IpAddr,
        session: Option<Session>,
    ) -> Line {
        Line {
            stream: Some(stream),
            peer,
            local,
            session,
            tls_time: Duration::ZERO,
            broken: None,
            dane: None,
        }
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        self.stream
            .as_mut()
            .expect("TLS gives the stream back, or the dialogue is over")
    }

    pub(super) fn protect(
        &mut self,
        options: &Options,
        deadline: Instant,
    ) -> Result<Session, client::Error> {
        let Some(Stream::Plain(connection)) = self.stream.take() else {
            unreachable!("TLS is started once, on a connection in clear");
        };
        let (stream, session) = client::begin(connection, options, deadline)?;
        self.stream = Some(stream);
        Ok(session)
    }
}
