//! ICMP sockets: datagram ones where the kernel permits them, else raw ones.
//!
//! A datagram socket gets its own replies only, without an IP header, and errors by its error
//! queue. A raw socket gets every ICMP packet of the host that its filter lets through, for
//! IPv4 with the IP header; its error queue holds nothing but transmit stamps.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::sockopt::Timestamping;
use nix::sys::socket::{TimestampingFlag, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::Error;
use super::filter::Expected;
use super::identifier::Identifier;
use super::inbox::{Queued, Received};
use super::option::Fragmentation;
use super::packet::PacketSocket;

const ICMPV4: u8 = 1;
const ICMPV6: u8 = 58;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Datagram,
    Raw,
}

/// How packets leave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) interface: Option<String>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) traffic_class: Option<u8>,
    pub(crate) fragmentation: Option<Fragmentation>,
    /// The kernel says when a packet left; that costs a system call for each.
    pub(crate) transmit_stamps: bool,
    /// Many replies may wait.
    pub(crate) large_buffer: bool,
    /// The identifier, or source port, if it is free.
    pub(crate) preferred: Option<u16>,
}

pub(crate) struct IcmpSocket {
    /// Free again before the kernel may give it to another socket.
    identifier: Identifier,
    packets: PacketSocket,
    pub(crate) mode: Mode,
    transmit_stamps: bool,
    /// Packets since the kernel counts them.
    stamped: u32,
}

/// A packet that left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Just before; a transmit stamp is more exact.
    pub(crate) at: Instant,
    /// By which its transmit stamp names it.
    pub(crate) number: u32,
}

impl IcmpSocket {
    /// Opens the kind of socket that the kernel permits; both may be forbidden.
    pub(crate) fn open(is_v4: bool, options: &Options) -> Result<IcmpSocket, Error> {
        match IcmpSocket::open_as(Mode::Datagram, is_v4, options) {
            Err(Error::NotPermitted(_)) => IcmpSocket::open_as(Mode::Raw, is_v4, options),
            other => other,
        }
    }

    pub(crate) fn open_as(mode: Mode, is_v4: bool, options: &Options) -> Result<IcmpSocket, Error> {
        let (mut packets, identifier) = open_identified(mode, is_v4, options)?;
        match mode {
            Mode::Datagram => packets.tell_errors(is_v4).map_err(cannot_set_up)?,
            Mode::Raw => {
                let expected = Expected {
                    is_v4,
                    protocol: if is_v4 { ICMPV4 } else { ICMPV6 },
                    offset: 4,
                    value: identifier.value(),
                    echo_replies: true,
                };
                expected.attach(&packets.socket).map_err(cannot_set_up)?;
            }
        }
        let mut opened = IcmpSocket {
            packets,
            mode,
            identifier,
            transmit_stamps: options.transmit_stamps,
            stamped: 0,
        };
        opened.count_transmissions_anew();
        Ok(opened)
    }

    pub(crate) fn has_transmit_stamps(&self) -> bool {
        self.transmit_stamps
    }

    /// Of all echoes sent here.
    pub(crate) fn identifier(&self) -> u16 {
        self.identifier.value()
    }

    /// Sends one message, with a hop limit of its own if one is given.
    pub(crate) fn send(
        &mut self,
        octets: &[u8],
        peer: &SocketAddr,
        hop_limit: Option<u8>,
    ) -> io::Result<Sent> {
        match self.packets.send(octets, peer, hop_limit) {
            Ok(at) => {
                let number = self.stamped;
                self.stamped = self.stamped.wrapping_add(1);
                Ok(Sent { at, number })
            }
            Err(error) => {
                self.count_transmissions_anew();
                Err(error)
            }
        }
    }

    /// A send that fails may or may not have been counted by the kernel.
    fn count_transmissions_anew(&mut self) {
        if !self.transmit_stamps {
            return;
        }
        let set = |flags| setsockopt(&self.packets.socket, Timestamping, &flags);
        let on = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
        // Where the kernel has no such stamps, the clock before the send must do.
        let counted = set(TimestampingFlag::empty()).and_then(|()| set(on));
        self.transmit_stamps = counted.is_ok();
        self.stamped = 0;
    }

    pub(crate) fn forbid_fragments(&self, is_v4: bool) -> io::Result<()> {
        self.packets.forbid_fragments(is_v4)
    }

    /// What waits in the error queue.
    pub(crate) fn receive_queued(&mut self) -> io::Result<Option<Queued<'_>>> {
        if self.mode == Mode::Raw && !self.transmit_stamps {
            return Ok(None);
        }
        self.packets.receive_queued()
    }

    /// What waits: the ICMP message; of a raw IPv4 socket the whole packet.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Received<'_>>> {
        self.packets.receive()
    }
}

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}

/// A raw socket for errors about other protocols' packets.
pub(crate) fn listen(expected: Expected, options: &Options) -> Result<PacketSocket, Error> {
    let packets = prepare(Mode::Raw, expected.is_v4, options)?;
    expected.attach(&packets.socket).map_err(cannot_set_up)?;
    Ok(packets)
}

fn prepare(mode: Mode, is_v4: bool, options: &Options) -> Result<PacketSocket, Error> {
    let (domain, protocol) = match is_v4 {
        true => (Domain::IPV4, Protocol::ICMPV4),
        false => (Domain::IPV6, Protocol::ICMPV6),
    };
    let kind = match mode {
        Mode::Datagram => Type::DGRAM,
        Mode::Raw => Type::RAW,
    };
    let socket =
        Socket::new(domain, kind, Some(protocol)).map_err(|error| {
            match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::EACCES | Errno::EPERM | Errno::EPROTONOSUPPORT => {
                    Error::NotPermitted(permission())
                }
                _ => cannot("open an ICMP socket", error),
            }
        })?;
    if options.large_buffer {
        super::enlarge_receive_buffer(&socket).map_err(cannot_set_up)?;
    }
    super::apply(&socket, is_v4, options)?;
    PacketSocket::new(socket, is_v4).map_err(cannot_set_up)
}

fn cannot_set_up(error: io::Error) -> Error {
    cannot("set up an ICMP socket", error)
}

fn cannot(what: &str, error: io::Error) -> Error {
    Error::System {
        what: format!("cannot {what}"),
        error,
    }
}

fn permission() -> String {
    let nsh = std::env::current_exe().map_or("nsh".to_owned(), |path| path.display().to_string());
    format!(
        "sending ICMP is not permitted to this user; one of these commands permits it:\n  \
         sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'\n  \
         sudo setcap cap_net_raw+ep {nsh}"
    )
}

/// A socket and the identifier of its echoes, which for a datagram socket is its port.
fn open_identified(
    mode: Mode,
    is_v4: bool,
    options: &Options,
) -> Result<(PacketSocket, Identifier), Error> {
    const TRIES: usize = 16;
    let mut preferred = options.preferred;
    for _ in 0..TRIES {
        let packets = prepare(mode, is_v4, options)?;
        if mode == Mode::Raw {
            if options.source.is_some() {
                bind(&packets, is_v4, options, 0)?;
            }
            let identifier = preferred
                .and_then(Identifier::claim)
                .or_else(Identifier::any);
            if let Some(identifier) = identifier {
                return Ok((packets, identifier));
            }
            break;
        }
        let wanted = preferred.take().and_then(Identifier::claim);
        bind(
            &packets,
            is_v4,
            options,
            wanted.as_ref().map_or(0, Identifier::value),
        )?;
        // The kernel gives each socket another one, but knows nothing of this process's raw
        // sockets.
        let bound = packets
            .socket
            .local_addr()
            .ok()
            .and_then(|bound| bound.as_socket());
        let claim = || bound.and_then(|bound| Identifier::claim(bound.port()));
        if let Some(identifier) = wanted.or_else(claim) {
            return Ok((packets, identifier));
        }
    }
    let error = Errno::EADDRINUSE.into();
    Err(cannot("get an ICMP identifier", error))
}

fn bind(packets: &PacketSocket, is_v4: bool, options: &Options, port: u16) -> Result<(), Error> {
    let any: IpAddr = match is_v4 {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let address = options.source.unwrap_or(any);
    let bound = packets.socket.bind(&SocketAddr::new(address, port).into());
    bound.map_err(|error| super::no_interface(&address.to_string(), error))
}
