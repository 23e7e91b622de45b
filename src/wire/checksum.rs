//! The Internet checksum, RFC 1071.

/// The one's complement of the one's complement sum; 0 over octets that hold a right checksum.
#[must_use]
pub fn internet(octets: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    let (pairs, odd) = octets.as_chunks::<2>();
    for pair in pairs {
        sum += u64::from(u16::from_be_bytes(*pair));
    }
    if let [last] = odd {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded to 16 bits above.
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::internet;

    /// RFC 1071 section 3: these octets sum to 0xddf2.
    #[test]
    fn of_the_rfc() {
        assert_eq!(
            internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
        assert_eq!(internet(&[0x01]), !0x0100);
        assert_eq!(internet(&[]), 0xffff);
    }
}
