//! One connection's octets: read, made upper case, written back. No sockets.

use std::io::{self, Read, Write};

/// What one client may have done before the next one's turn.
const TURNS_MAX: usize = 16;

pub(super) enum Outcome {
    /// For the client.
    Waits,
    HasMore,
    Over,
}

/// Writes what is pending, reads, and so on, until one of them would block.
pub(super) fn turn(
    stream: &mut (impl Read + Write),
    (pending, ended, octets): (&mut Vec<u8>, &mut bool, &mut u64),
    buffer: &mut [u8],
    log: &mut dyn FnMut(&[u8]),
) -> Outcome {
    for _ in 0..TURNS_MAX {
        while !pending.is_empty() {
            match stream.write(pending) {
                Ok(written) => _ = pending.drain(..written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::Waits,
                Err(_) => return Outcome::Over,
            }
        }
        if *ended {
            return Outcome::Over;
        }
        match stream.read(buffer) {
            Ok(0) => *ended = true,
            Ok(count) => {
                let read = &mut buffer[..count];
                log(read);
                read.make_ascii_uppercase();
                *octets += count as u64;
                // Most answers leave at once and need no memory of their own.
                let written = stream.write(read).unwrap_or(0);
                pending.extend_from_slice(&read[written..]);
                if pending.is_empty() {
                    pending.shrink_to(0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::Waits,
            Err(_) => return Outcome::Over,
        }
    }
    Outcome::HasMore
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that takes and gives a few octets at a time.
    struct Peer {
        sends: Vec<Vec<u8>>,
        takes: usize,
        got: Vec<u8>,
    }

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.sends.is_empty() {
                return Ok(0);
            }
            let octets = self.sends.remove(0);
            buffer[..octets.len()].copy_from_slice(&octets);
            Ok(octets.len())
        }
    }

    impl Write for Peer {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let count = octets.len().min(self.takes);
            self.got.extend_from_slice(&octets[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_split_of_a_line_gives_the_same_answer() {
        let sentence = "straße, naïve café\n".as_bytes();
        for split in 0..=sentence.len() {
            for takes in 1..4 {
                let (first, second) = sentence.split_at(split);
                let sends = [first, second].map(<[u8]>::to_vec);
                let sends = sends.into_iter().filter(|part| !part.is_empty()).collect();
                let mut peer = Peer {
                    sends,
                    takes,
                    got: Vec::new(),
                };
                let (mut pending, mut ended, mut octets) = (Vec::new(), false, 0);
                let state = (&mut pending, &mut ended, &mut octets);
                let outcome = turn(&mut peer, state, &mut [0; 64], &mut |_| ());
                assert!(matches!(outcome, Outcome::Over));
                assert_eq!(
                    peer.got,
                    "STRAßE, NAïVE CAFé\n".as_bytes(),
                    "split at {split}"
                );
            }
        }
    }
}
