//! What a raw ICMP socket lets through: a raw socket gets every ICMP packet of the host, and
//! thousands of pings would wake each other without a filter in the kernel.

use std::io;

use socket2::{SockFilter, Socket};

use super::option;

/// The packets that answer what was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) is_v4: bool,
    /// The IP protocol that errors quote.
    pub(crate) protocol: u8,
    /// Where in the quoted header, after IP's, the 16 bits are that tell it is ours.
    pub(crate) offset: u32,
    pub(crate) value: u16,
    /// Echo replies with `value` as identifier, too.
    pub(crate) echo_replies: bool,
}

// linux/bpf_common.h
const LOAD_OCTET: u16 = 0x30;
const LOAD_OCTET_X: u16 = 0x50;
const LOAD_HALF: u16 = 0x28;
const LOAD_HALF_X: u16 = 0x48;
const LOAD_X_IP_HEADER: u16 = 0xb1;
const AND: u16 = 0x54;
const SHIFT_LEFT: u16 = 0x64;
const ADD_X: u16 = 0x0c;
const TO_X: u16 = 0x07;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// The types that answers have.
const TYPES_V4: [u8; 6] = [0, 3, 4, 5, 11, 12];
const TYPES_V6: [u8; 5] = [1, 2, 3, 4, 129];
const WHOLE: u32 = u32::MAX;
const ICMP_HEADER_OCTETS: u32 = 8;

impl Expected {
    /// From now on the socket gets what is expected only.
    pub(super) fn attach(self, socket: &Socket) -> io::Result<()> {
        let types: &[u8] = match self.is_v4 {
            true => &TYPES_V4,
            false => &TYPES_V6,
        };
        option::set_passed_types(socket, self.is_v4, types)?;
        socket.attach_filter(&self.program())
    }

    /// A program for the kernel's packet filter.
    fn program(self) -> Vec<SockFilter> {
        program(if self.is_v4 { self.v4() } else { self.v6() })
    }

    fn identifier(self) -> u32 {
        u32::from(self.value)
    }

    /// The packet begins with its IP header.
    fn v4(self) -> Vec<(u16, u8, u8, u32)> {
        let replies = u8::from(!self.echo_replies);
        let quote = ICMP_HEADER_OCTETS;
        vec![
            (LOAD_X_IP_HEADER, 0, 0, 0),
            (LOAD_OCTET_X, 0, 0, 0),
            // Errors are of these types; a reply jumps over what looks into the quote.
            (IF_EQUAL, 6, 0, 0),
            (IF_EQUAL, 7, 0, 3),
            (IF_EQUAL, 6, 0, 4),
            (IF_EQUAL, 5, 0, 5),
            (IF_EQUAL, 4, 0, 11),
            (IF_EQUAL, 3, 0, 12),
            (RETURN, 0, 0, 0),
            (LOAD_HALF_X, 0, 0, 4),
            (IF_EQUAL, 9 + replies, 10, self.identifier()),
            // The protocol in the quoted IP header, then what follows that header.
            (LOAD_OCTET_X, 0, 0, quote + 9),
            (IF_EQUAL, 0, 8, u32::from(self.protocol)),
            (LOAD_OCTET_X, 0, 0, quote),
            (AND, 0, 0, 0xf),
            (SHIFT_LEFT, 0, 0, 2),
            (ADD_X, 0, 0, 0),
            (TO_X, 0, 0, 0),
            (LOAD_HALF_X, 0, 0, quote + self.offset),
            (IF_EQUAL, 0, 1, self.identifier()),
            (RETURN, 0, 0, WHOLE),
            (RETURN, 0, 0, 0),
        ]
    }

    /// The packet begins with its ICMPv6 header.
    fn v6(self) -> Vec<(u16, u8, u8, u32)> {
        const IPV6_HEADER_OCTETS: u32 = 40;
        let replies = u8::from(!self.echo_replies);
        let quote = ICMP_HEADER_OCTETS;
        vec![
            (LOAD_OCTET, 0, 0, 0),
            (IF_EQUAL, 5, 0, 129),
            (IF_EQUAL, 6, 0, 1),
            (IF_EQUAL, 5, 0, 2),
            (IF_EQUAL, 4, 0, 3),
            (IF_EQUAL, 3, 0, 4),
            (RETURN, 0, 0, 0),
            (LOAD_HALF, 0, 0, 4),
            (IF_EQUAL, 4 + replies, 5, self.identifier()),
            (LOAD_OCTET, 0, 0, quote + 6),
            (IF_EQUAL, 0, 3, u32::from(self.protocol)),
            (LOAD_HALF, 0, 0, quote + IPV6_HEADER_OCTETS + self.offset),
            (IF_EQUAL, 0, 1, self.identifier()),
            (RETURN, 0, 0, WHOLE),
            (RETURN, 0, 0, 0),
        ]
    }
}

/// Lets TCP segments from one port to another through.
pub(crate) fn segments(is_v4: bool, source: u16, destination: u16) -> Vec<SockFilter> {
    let (source, destination) = (u32::from(source), u32::from(destination));
    let statements = match is_v4 {
        true => vec![
            (LOAD_X_IP_HEADER, 0, 0, 0),
            (LOAD_HALF_X, 0, 0, 0),
            (IF_EQUAL, 0, 3, source),
            (LOAD_HALF_X, 0, 0, 2),
            (IF_EQUAL, 0, 1, destination),
            (RETURN, 0, 0, WHOLE),
            (RETURN, 0, 0, 0),
        ],
        false => vec![
            (LOAD_HALF, 0, 0, 0),
            (IF_EQUAL, 0, 3, source),
            (LOAD_HALF, 0, 0, 2),
            (IF_EQUAL, 0, 1, destination),
            (RETURN, 0, 0, WHOLE),
            (RETURN, 0, 0, 0),
        ],
    };
    program(statements)
}

fn program(statements: Vec<(u16, u8, u8, u32)>) -> Vec<SockFilter> {
    statements
        .into_iter()
        .map(|(code, if_true, if_false, value)| SockFilter::new(code, if_true, if_false, value))
        .collect()
}
