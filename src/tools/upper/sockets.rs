//! Where the server listens: by both protocols at one port, unless only one of them is wanted.

use std::net::SocketAddr;

use mio::net::{TcpListener, UdpSocket};

use super::Arguments;
use crate::net::{Error, tcp, udp};
use crate::tool::Endpoint;

/// With port 0: the free port that TCP was given may be somebody's in UDP.
const FREE_PORT_ATTEMPTS: usize = 16;

pub(super) struct Sockets {
    pub(super) address: SocketAddr,
    pub(super) listener: Option<TcpListener>,
    pub(super) datagrams: Option<UdpSocket>,
}

/// The error is with what could not be had.
pub(super) fn bind(arguments: &Arguments) -> Result<Sockets, (Error, Endpoint)> {
    let wanted = SocketAddr::new(arguments.bind, arguments.own_port);
    let attempts = if wanted.port() == 0 {
        FREE_PORT_ATTEMPTS
    } else {
        1
    };
    let mut sockets = bind_once(wanted, arguments);
    for _ in 1..attempts {
        if sockets.is_ok() {
            break;
        }
        sockets = bind_once(wanted, arguments);
    }
    sockets
}

fn bind_once(mut address: SocketAddr, arguments: &Arguments) -> Result<Sockets, (Error, Endpoint)> {
    let (mut listener, mut datagrams) = (None, None);
    if !arguments.udp {
        let bound = tcp::listen(address).map_err(|error| (error, Endpoint::Tcp(address)))?;
        address = bound.local_addr().unwrap_or(address);
        listener = Some(TcpListener::from_std(bound));
    }
    if !arguments.tcp {
        let bound = udp::bind(address).map_err(|error| (error, Endpoint::Udp(address)))?;
        address = bound.local_addr().unwrap_or(address);
        datagrams = Some(UdpSocket::from_std(bound));
    }
    Ok(Sockets {
        address,
        listener,
        datagrams,
    })
}

impl Sockets {
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let tcp = self.listener.as_ref().map(|_| Endpoint::Tcp(self.address));
        let udp = self.datagrams.as_ref().map(|_| Endpoint::Udp(self.address));
        tcp.into_iter().chain(udp).collect()
    }
}
