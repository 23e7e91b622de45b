//! What routers append to ICMP errors: multi-part messages (RFC 4884), with the MPLS label
//! stack (RFC 4950) and the interface information (RFC 5837) as objects.
//!
//! Left out: sending any of it, and the content of all other classes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::icmp::Version;
use super::reader::Reader;
use super::{Error, checksum};

/// RFC 4884 section 8: Length, Class-Num and C-Type, which the length includes.
const OBJECT_HEADER_OCTETS: usize = 4;
/// RFC 4884 section 5.5: where the structure starts when no length attribute says so.
const NON_COMPLIANT_QUOTE_OCTETS: usize = 128;
/// RFC 5837 section 4.3.
const NAME_OCTETS_MAX: usize = 64;
/// A router has a stack and four roles to tell of; a peer must not fill the screen with more.
const OBJECTS_MAX: usize = 32;
/// More than routers can push.
const LABELS_MAX: usize = 32;

/// RFC 4884 section 7.
const STRUCTURE_VERSION: u8 = 2;
/// RFC 4950 section 5: Class-Num and C-Type.
const LABEL_STACK_CLASS: u8 = 1;
const INCOMING_LABEL_STACK: u8 = 1;
/// RFC 5837 section 4.1: the class, and the bits of its C-Type.
const INTERFACE_CLASS: u8 = 2;
const HAS_INDEX: u8 = 0x08;
const HAS_ADDRESS: u8 = 0x04;
const HAS_NAME: u8 = 0x02;
const HAS_MTU: u8 = 0x01;

/// What a router adds to an ICMP error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// The stack that the packet came with, its top first.
    LabelStack(Vec<Label>),
    Interface(Interface),
    Other {
        class: u8,
        kind: u8,
    },
}

/// A label stack entry, RFC 3032 section 2.1, with the field that RFC 5462 renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    pub label: u32,
    pub traffic_class: u8,
    pub is_bottom: bool,
    pub time_to_live: u8,
}

/// RFC 5837 section 4; each part is present when the router chose to tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub role: Role,
    pub index: Option<u32>,
    pub address: Option<IpAddr>,
    /// Without the padding. It should be UTF-8, but comes from a peer.
    pub name: Option<Vec<u8>>,
    pub mtu: Option<u32>,
}

/// RFC 5837 section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The packet arrived on it.
    Incoming,
    /// The part below IP of the one that the packet arrived on.
    IncomingSubIp,
    /// The packet would have left through it.
    Outgoing,
    /// Where the packet would have gone next.
    NextHop,
}

/// Splits what follows the 8 octets of an ICMP error's header into the quoted packet and the
/// extension structure, RFC 4884 sections 4 and 5.5.
///
/// `kind` is the ICMP type, `info` the message's second word. The quote keeps the zeros that
/// pad it up to the structure.
#[must_use]
pub fn split(version: Version, kind: u8, info: u32, body: &[u8]) -> (&[u8], Option<&[u8]>) {
    let [first, second, ..] = info.to_be_bytes();
    let quote_octets = match (version, kind) {
        (Version::V4, 3 | 11 | 12) => usize::from(second) * 4,
        (Version::V6, 1 | 3) => usize::from(first) * 8,
        (Version::V4 | Version::V6, _) => return (body, None),
    };
    let is_compliant = quote_octets != 0;
    let at = if is_compliant {
        quote_octets
    } else {
        NON_COMPLIANT_QUOTE_OCTETS
    };
    match body.split_at_checked(at) {
        Some((quote, structure))
            if !structure.is_empty() && (is_compliant || is_surely_structure(structure)) =>
        {
            (quote, Some(structure))
        }
        _ => (body, None),
    }
}

/// Whether octets that could be the quoted packet's own are a structure: version and checksum
/// say so, and a checksum that was not computed says nothing.
fn is_surely_structure(octets: &[u8]) -> bool {
    let mut reader = Reader::new(octets);
    parse_header(&mut reader) == Ok(STRUCTURE_VERSION)
        && reader.u16().is_ok_and(|checksum| checksum != 0)
        && checksum::internet(octets) == 0
}

/// Reads an extension structure, RFC 4884 sections 7 and 8: its header and its objects.
///
/// A checksum of 0 was not computed. Objects and labels beyond the limits are left out.
pub fn parse(octets: &[u8]) -> Result<Vec<Object>, Error> {
    let mut reader = Reader::new(octets);
    if parse_header(&mut reader)? != STRUCTURE_VERSION {
        return Err(Error::Version);
    }
    if reader.u16()? != 0 && checksum::internet(octets) != 0 {
        return Err(Error::Checksum);
    }
    let mut objects = Vec::new();
    let mut rest = reader.rest();
    while !rest.is_empty() && objects.len() < OBJECTS_MAX {
        let mut reader = Reader::new(rest);
        let object_octets = usize::from(reader.u16()?);
        let class = reader.u8()?;
        let kind = reader.u8()?;
        let payload_octets = object_octets
            .checked_sub(OBJECT_HEADER_OCTETS)
            .ok_or(Error::Truncated)?;
        objects.push(parse_object(class, kind, reader.take(payload_octets)?)?);
        rest = reader.rest();
    }
    Ok(objects)
}

/// Reads up to the checksum; the version is the upper half of the first octet.
fn parse_header(reader: &mut Reader<'_>) -> Result<u8, Error> {
    let [version, _reserved] = reader.array()?;
    Ok(version >> 4)
}

fn parse_object(class: u8, kind: u8, payload: &[u8]) -> Result<Object, Error> {
    match (class, kind) {
        (LABEL_STACK_CLASS, INCOMING_LABEL_STACK) => parse_labels(payload).map(Object::LabelStack),
        (INTERFACE_CLASS, _) => parse_interface(kind, payload).map(Object::Interface),
        _ => Ok(Object::Other { class, kind }),
    }
}

fn parse_labels(payload: &[u8]) -> Result<Vec<Label>, Error> {
    let (entries, []) = payload.as_chunks::<4>() else {
        return Err(Error::Truncated);
    };
    let label = |&[high, middle, low, time_to_live]: &[u8; 4]| Label {
        label: u32::from_be_bytes([0, high, middle, low]) >> 4,
        traffic_class: low >> 1 & 7,
        is_bottom: low & 1 != 0,
        time_to_live,
    };
    Ok(entries.iter().take(LABELS_MAX).map(label).collect())
}

/// The parts follow each other in the order of RFC 5837 section 4.1, which is that of the fields.
/// What follows them belongs to reserved bits, which are to be ignored.
fn parse_interface(kind: u8, payload: &[u8]) -> Result<Interface, Error> {
    let mut reader = Reader::new(payload);
    let has = |part: u8| kind & part != 0;
    Ok(Interface {
        role: match kind >> 6 {
            0 => Role::Incoming,
            1 => Role::IncomingSubIp,
            2 => Role::Outgoing,
            _ => Role::NextHop,
        },
        index: has(HAS_INDEX).then(|| reader.u32()).transpose()?,
        address: has(HAS_ADDRESS)
            .then(|| parse_address(&mut reader))
            .transpose()?,
        name: has(HAS_NAME).then(|| parse_name(&mut reader)).transpose()?,
        mtu: has(HAS_MTU).then(|| reader.u32()).transpose()?,
    })
}

/// RFC 5837 section 4.2. Where a family other than these two ends cannot be known.
fn parse_address(reader: &mut Reader<'_>) -> Result<IpAddr, Error> {
    let family = reader.u16()?;
    reader.u16()?;
    match family {
        1 => Ok(Ipv4Addr::from(reader.array()?).into()),
        2 => Ok(Ipv6Addr::from(reader.array()?).into()),
        _ => Err(Error::Version),
    }
}

/// RFC 5837 section 4.3: the length counts its own octet and the padding.
fn parse_name(reader: &mut Reader<'_>) -> Result<Vec<u8>, Error> {
    let octets = usize::from(reader.u8()?);
    if octets > NAME_OCTETS_MAX {
        return Err(Error::Truncated);
    }
    let padded = reader.take(octets.checked_sub(1).ok_or(Error::Truncated)?)?;
    Ok(padded.iter().copied().take_while(|&o| o != 0).collect())
}

/// As traceroute prints it, where E is what the traffic class was called.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Label {
            label,
            traffic_class,
            is_bottom,
            time_to_live,
        } = *self;
        let bottom = u8::from(is_bottom);
        write!(f, "L={label},E={traffic_class},S={bottom},T={time_to_live}")
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.role {
            Role::Incoming => "in",
            Role::IncomingSubIp => "in sub-ip",
            Role::Outgoing => "out",
            Role::NextHop => "next hop",
        })?;
        if let Some(name) = self.name.as_ref().filter(|name| !name.is_empty()) {
            f.write_str(" ")?;
            for chunk in name.utf8_chunks() {
                let (valid, invalid) = (chunk.valid(), chunk.invalid());
                write!(f, "{}{}", valid.escape_debug(), invalid.escape_ascii())?;
            }
        }
        if let Some(address) = self.address {
            write!(f, " {address}")?;
        }
        match (self.index, self.mtu) {
            (Some(index), Some(mtu)) => write!(f, " (index {index}, mtu {mtu})"),
            (Some(index), None) => write!(f, " (index {index})"),
            (None, Some(mtu)) => write!(f, " (mtu {mtu})"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// RFC 4950 section 5: two entries, 16001 on top of 3 with traffic class 5.
    const LABELS: [u8; 12] = [0, 12, 1, 1, 0x03, 0xe8, 0x10, 1, 0x00, 0x00, 0x3b, 254];
    /// RFC 5837 section 4: role 0 with all parts, the name padded to 8 octets.
    const INTERFACE: [u8; 28] = [
        0, 28, 2, 0x0f, 0, 0, 0, 3, 0, 1, 0, 0, 10, 0, 0, 1, 8, b'e', b't', b'h', b'0', 0, 0, 0, 0,
        0, 0x05, 0xdc,
    ];

    /// A structure with a right checksum, by RFC 4884's picture.
    fn structure(objects: &[&[u8]]) -> Vec<u8> {
        let mut octets = without_checksum(objects);
        let checksum = checksum::internet(&octets);
        octets[2..4].copy_from_slice(&checksum.to_be_bytes());
        octets
    }

    fn without_checksum(objects: &[&[u8]]) -> Vec<u8> {
        let mut octets = vec![0x20, 0, 0, 0];
        octets.extend(objects.concat());
        octets
    }

    #[track_caller]
    fn check_interface(object: &[u8], words: &str) {
        match parse(&structure(&[object])).as_deref() {
            Ok([Object::Interface(interface)]) => assert_eq!(interface.to_string(), words),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn objects_octet_by_octet() {
        let top = Label {
            label: 16001,
            traffic_class: 0,
            is_bottom: false,
            time_to_live: 1,
        };
        let bottom = Label {
            label: 3,
            traffic_class: 5,
            is_bottom: true,
            time_to_live: 254,
        };
        let expected = vec![
            Object::LabelStack(vec![top, bottom]),
            Object::Interface(Interface {
                role: Role::Incoming,
                index: Some(3),
                address: Some(IpAddr::from([10, 0, 0, 1])),
                name: Some(b"eth0".to_vec()),
                mtu: Some(1500),
            }),
            // Neither is assigned: a class 9, and a second kind of label stack.
            Object::Other { class: 9, kind: 7 },
            Object::Other { class: 1, kind: 2 },
        ];
        let objects: [&[u8]; 4] = [&LABELS, &INTERFACE, &[0, 5, 9, 7, 0xff], &[0, 4, 1, 2]];
        assert_eq!(parse(&structure(&objects)), Ok(expected.clone()));
        assert_eq!(parse(&without_checksum(&objects)), Ok(expected));
        assert_eq!(top.to_string(), "L=16001,E=0,S=0,T=1");
        assert_eq!(bottom.to_string(), "L=3,E=5,S=1,T=254");
    }

    #[test]
    fn interfaces_in_words() {
        check_interface(&INTERFACE, "in eth0 10.0.0.1 (index 3, mtu 1500)");
        check_interface(&[0, 4, 2, 0x40], "in sub-ip");
        check_interface(&[0, 8, 2, 0x88, 0, 0, 0, 9], "out (index 9)");
        check_interface(&[0, 8, 2, 0x81, 0, 0, 5, 0], "out (mtu 1280)");
        let mut next_hop = vec![0, 24, 2, 0xc4, 0, 2, 0, 0];
        next_hop.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        check_interface(&next_hop, "next hop 2001:db8::1");
        check_interface(&[0, 8, 2, 2, 4, 0, 0, 0], "in");
        let hostile = [0, 12, 2, 2, 8, 0x1b, b'[', 0xff, b'\n', 0xc3, 0xbc, 0];
        check_interface(&hostile, "in \\u{1b}[\\xff\\nü");
    }

    #[test]
    fn every_truncation_is_an_error() {
        for object in [LABELS.as_slice(), INTERFACE.as_slice()] {
            let octets = without_checksum(&[object]);
            for end in (0..octets.len()).filter(|&end| end != 4) {
                assert_eq!(parse(&octets[..end]), Err(Error::Truncated), "{end}");
            }
        }
        for octets in 0..28 {
            let mut object = INTERFACE[..octets.max(4)].to_vec();
            object[1] = octets.try_into().unwrap();
            let parsed = parse(&structure(&[&object]));
            assert_eq!(parsed, Err(Error::Truncated), "an object of {octets}");
        }
    }

    #[test]
    fn wrong_octets_are_an_error() {
        #[track_caller]
        fn check(object: &[u8], error: Error) {
            assert_eq!(parse(&structure(&[object])), Err(error));
        }
        check(&[0, 7, 1, 1, 0, 0, 0], Error::Truncated);
        check(&[0, 8, 2, 2, 0, 0, 0, 0], Error::Truncated);
        check(&[0, 12, 2, 4, 0, 3, 0, 0, 0, 0, 0, 0], Error::Version);
        let mut name = [b'x'; 72];
        name[..5].copy_from_slice(&[0, 72, 2, 2, 64]);
        assert!(parse(&structure(&[&name])).is_ok(), "64 octets are allowed");
        name[4] = 65;
        check(&name, Error::Truncated);

        let octets = structure(&[&LABELS]);
        for index in 1..octets.len() {
            let mut octets = octets.clone();
            octets[index] ^= 1;
            assert_eq!(parse(&octets), Err(Error::Checksum), "{index}");
        }
        assert_eq!(parse(&[0x10, 0, 0, 0]), Err(Error::Version));
    }

    #[test]
    fn there_is_a_limit_to_what_is_kept() {
        let mut labels = [0; 4 + 4 * 40];
        labels[..4].copy_from_slice(&[0, 164, 1, 1]);
        let objects = parse(&structure(&[labels.as_slice(); 40])).expect("a right structure");
        assert_eq!(objects.len(), OBJECTS_MAX);
        assert!(matches!(&objects[0], Object::LabelStack(labels) if labels.len() == LABELS_MAX));
    }

    /// Splits a quote of so many octets with the structure behind it.
    #[track_caller]
    fn check_split(version: Version, kind: u8, info: u32, quote: usize, added: &[u8], found: bool) {
        let mut body = vec![0x45; quote];
        body.extend(added);
        let expected = match found {
            true => (&body[..quote], Some(added)),
            false => (body.as_slice(), None),
        };
        assert_eq!(split(version, kind, info, &body), expected);
    }

    #[test]
    fn a_length_says_where_the_structure_is() {
        let added = structure(&[&LABELS]);
        // The MTU of an unreachable and the pointer of a parameter problem are not the length.
        check_split(Version::V4, 3, 0x0020_05dc, 128, &added, true);
        check_split(Version::V4, 11, 0x0021_0000, 132, &added, true);
        check_split(Version::V4, 12, 0x1420_0000, 128, &added, true);
        check_split(Version::V6, 1, 0x1000_0000, 128, &added, true);
        check_split(Version::V6, 3, 0x1100_0000, 136, &added, true);
        // parse, not split, judges what a length points at.
        check_split(Version::V4, 11, 0x0020_0000, 128, &[1], true);
        check_split(Version::V4, 11, 0x0020_0000, 128, &[], false);
        check_split(Version::V4, 11, 0x00ff_0000, 128, &added, false);
        check_split(Version::V6, 3, 0xff00_0000, 128, &added, false);
        check_split(Version::V4, 5, 0x0020_0000, 128, &added, false);
        check_split(Version::V6, 2, 0x1000_0000, 128, &added, false);
        check_split(Version::V6, 4, 0x1000_0000, 128, &added, false);
    }

    #[test]
    fn without_a_length_only_a_right_checksum_counts() {
        let added = structure(&[&LABELS]);
        let not_computed = without_checksum(&[&LABELS]);
        let mut wrong = added.clone();
        wrong[15] ^= 1;
        for (version, kind) in [(Version::V4, 11), (Version::V6, 3)] {
            check_split(version, kind, 0, 128, &added, true);
            check_split(version, kind, 0, 128, &not_computed, false);
            check_split(version, kind, 0, 128, &wrong, false);
            check_split(version, kind, 0, 128, &[0x1f, 0, 0xe0, 0xff], false);
            check_split(version, kind, 0, 132, &added, false);
            check_split(version, kind, 0, 28, &[], false);
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(
            octets in vec(any::<u8>(), 0..300),
            kind in 0..13u8,
            info in any::<u32>(),
            objects in vec((0..4u8, any::<u8>(), vec(0..70u8, 0..90)), 0..4),
        ) {
            for version in [Version::V4, Version::V6] {
                for info in [0, info, 0x1020_0000] {
                    let (_, added) = split(version, kind, info, &octets);
                    let _ = added.map(parse);
                }
            }
            let _ = parse(&octets);
            let framed = objects.iter().map(|(class, kind, payload)| {
                let length = u8::try_from(payload.len() + 4).expect("below 256");
                [&[0, length, *class, *kind], payload.as_slice()].concat()
            });
            let framed: Vec<_> = framed.collect();
            let framed: Vec<_> = framed.iter().map(Vec::as_slice).collect();
            for object in parse(&structure(&framed)).unwrap_or_default() {
                match object {
                    Object::LabelStack(labels) => labels.iter().for_each(|l| drop(l.to_string())),
                    Object::Interface(interface) => drop(interface.to_string()),
                    Object::Other { .. } => {}
                }
            }
        }
    }
}
