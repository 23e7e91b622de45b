//! Socket options that the libraries leave out.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

/// Whether packets may be fragmented, and whether the kernel's idea of the path's MTU counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fragmentation {
    // Nobody may fragment, here or on the way.
    Do,
    // Large packets are fragmented here, and nobody may on the way.
    Want,
    // Anybody may fragment.
    Dont,
    // Nobody may fragment, and what is known of the path does not count.
    #[value(skip)]
    Probe,
}

pub(crate) fn set_fragmentation(
    socket: &impl AsFd,
    is_v4: bool,
    fragmentation: Fragmentation,
) -> io::Result<()> {
    let value = match fragmentation {
        Fragmentation::Dont => libc::IP_PMTUDISC_DONT,
        Fragmentation::Want => libc::IP_PMTUDISC_WANT,
        Fragmentation::Do => libc::IP_PMTUDISC_DO,
        Fragmentation::Probe => libc::IP_PMTUDISC_PROBE,
    };
    match is_v4 {
        true => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value),
        false => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, value),
    }
}

/// The error queue says where the extensions of RFC 4884 begin.
pub(crate) fn set_extensions_told(socket: &impl AsFd, is_v4: bool) -> io::Result<()> {
    // linux/in.h and linux/in6.h.
    const IP_RECVERR_RFC4884: i32 = 26;
    const IPV6_RECVERR_RFC4884: i32 = 31;
    match is_v4 {
        true => set(socket, libc::IPPROTO_IP, IP_RECVERR_RFC4884, 1),
        false => set(socket, libc::IPPROTO_IPV6, IPV6_RECVERR_RFC4884, 1),
    }
}

/// A raw ICMP socket gets messages of these types only. The kernel looks at that before it makes
/// a copy for the socket, and at a packet filter after.
pub(crate) fn set_passed_types(socket: &impl AsFd, is_v4: bool, types: &[u8]) -> io::Result<()> {
    // linux/icmp.h and linux/icmpv6.h: a bit for each type that is blocked.
    const SOL_RAW: i32 = 255;
    const ICMP_FILTER: i32 = 1;
    let mut blocked = [u32::MAX; 8];
    for kind in types {
        blocked[usize::from(kind / 32)] &= !(1 << (kind % 32));
    }
    match is_v4 {
        true => set(socket, SOL_RAW, ICMP_FILTER, blocked[0]),
        false => set(socket, libc::IPPROTO_ICMPV6, ICMP_FILTER, blocked),
    }
}

/// A number, or several, as the kernel has them.
trait Value: Copy {}
impl Value for i32 {}
impl Value for u32 {}
impl Value for [u32; 8] {}

#[expect(unsafe_code, reason = "no library sets these options")]
fn set(socket: &impl AsFd, level: i32, name: i32, value: impl Value) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let octets = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads `octets` octets at the address of `value`, which has no padding
    // and outlives the call.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), octets) };
    Errno::result(result)?;
    Ok(())
}
