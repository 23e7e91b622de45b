//! The next client of a listener, also where there are no descriptors left for it.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::PollFlags;

use crate::cancel::{Cancel, Cancelled};
use crate::clock;

/// How long to wait for descriptors or memory when there are none. The client stays in the
/// listener's queue, which would be told again at once.
pub(crate) const SHORTAGE: Duration = Duration::from_millis(100);

/// Whether it is this machine that cannot, rather than the client that is gone.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
    )
}

/// Waits for it. `listener` does not block.
pub(crate) fn accept(
    listener: &TcpListener,
    cancel: &Cancel,
) -> Result<(TcpStream, SocketAddr), Cancelled> {
    loop {
        cancel.wait(listener.as_fd(), PollFlags::POLLIN, None)?;
        match listener.accept() {
            Ok(accepted) => return Ok(accepted),
            Err(error) if is_shortage(&error) => cancel.sleep_until(clock::now() + SHORTAGE)?,
            Err(_) => {}
        }
    }
}
