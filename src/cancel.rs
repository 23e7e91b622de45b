//! How every wait ends on `stop`: a flag and a descriptor that polls readable once it is set.
//!
//! A job waits with [`Cancel::wait`] on its socket and this descriptor together, so that it is
//! woken within microseconds whatever it waits for, and burns nothing meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::clock;

/// Wakes a thread that polls it; rings are not counted.
pub(crate) struct Bell(imp::Bell);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        imp::Bell::new().map(Bell)
    }

    pub(crate) fn ring(&self) {
        self.0.ring();
    }

    /// Takes back all rings so far.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::sys::eventfd::{EfdFlags, EventFd};

    pub(super) struct Bell(EventFd);

    impl Bell {
        pub(super) fn new() -> io::Result<Bell> {
            let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
            Ok(Bell(EventFd::from_flags(flags)?))
        }

        pub(super) fn ring(&self) {
            // It fails only when the counter is full, and then it is readable already.
            let _ = self.0.write(1);
        }

        pub(super) fn clear(&self) {
            let _ = self.0.read();
        }
    }

    impl AsFd for Bell {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::net::UnixStream;

    pub(super) struct Bell {
        reader: UnixStream,
        writer: UnixStream,
    }

    impl Bell {
        pub(super) fn new() -> io::Result<Bell> {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok(Bell { reader, writer })
        }

        pub(super) fn ring(&self) {
            let _ = (&self.writer).write(&[1]);
        }

        pub(super) fn clear(&self) {
            let mut taken = [0; 64];
            while matches!((&self.reader).read(&mut taken), Ok(64)) {}
        }
    }

    impl AsFd for Bell {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.reader.as_fd()
        }
    }
}

/// The job was told to stop. Carried up by `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cancelled;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    Ready,
    TimedOut,
    /// Somebody wants to know how it goes.
    Nudged,
}

/// Shared by a job's threads and by whoever may stop it.
#[derive(Clone)]
pub(crate) struct Cancel(Arc<Shared>);

struct Shared {
    requested: AtomicBool,
    nudged: AtomicBool,
    bell: Bell,
}

impl Cancel {
    pub(crate) fn new() -> io::Result<Cancel> {
        Ok(Cancel(Arc::new(Shared {
            requested: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
            bell: Bell::new()?,
        })))
    }

    pub(crate) fn cancel(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        self.0.bell.ring();
    }

    /// Asks the job to say how it goes.
    pub(crate) fn nudge(&self) {
        self.0.nudged.store(true, Ordering::SeqCst);
        self.0.bell.ring();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Waits until `fd` shows `interest` (or an error), the deadline passes, or the job is stopped.
    pub(crate) fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: PollFlags,
        deadline: Option<Instant>,
    ) -> Result<Wake, Cancelled> {
        loop {
            match self.wait_any(&[fd], interest, deadline)? {
                Wake::Nudged => {}
                wake => return Ok(wake),
            }
        }
    }

    /// The same for several descriptors, and for a job that tells how it goes when asked.
    pub(crate) fn wait_any(
        &self,
        fds: &[BorrowedFd<'_>],
        interest: PollFlags,
        deadline: Option<Instant>,
    ) -> Result<Wake, Cancelled> {
        let mut all = vec![self.as_poll_fd()];
        all.extend(fds.iter().map(|fd| PollFd::new(*fd, interest)));
        self.wait_on(&mut all, deadline)
    }

    pub(crate) fn sleep_until(&self, deadline: Instant) -> Result<(), Cancelled> {
        while self.wait_on(&mut [self.as_poll_fd()], Some(deadline))? == Wake::Nudged {}
        Ok(())
    }

    fn as_poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.0.bell.as_fd(), PollFlags::POLLIN)
    }

    /// `fds` hold this job's own descriptor beside what is waited for.
    fn wait_on(&self, fds: &mut [PollFd], deadline: Option<Instant>) -> Result<Wake, Cancelled> {
        let wake = loop {
            if self.is_cancelled() {
                return Err(Cancelled);
            }
            let wake = poll_until(fds, deadline);
            let is_rung = |fd: &PollFd| fd.any().unwrap_or(false);
            let (own, others) = fds.split_at(1);
            if !own.iter().any(is_rung) {
                break wake;
            }
            self.0.bell.clear();
            if self.is_cancelled() {
                // Others may wait for the ring that was just taken back.
                self.0.bell.ring();
                return Err(Cancelled);
            }
            if self.0.nudged.swap(false, Ordering::SeqCst) {
                return Ok(Wake::Nudged);
            }
            if others.iter().any(is_rung) {
                break wake;
            }
        };
        if self.is_cancelled() {
            return Err(Cancelled);
        }
        // After an error the caller's next read says what is wrong with its descriptor.
        Ok(wake.unwrap_or(Wake::Ready))
    }
}

/// For a job with an event loop of its own: readable once it is to stop, or was nudged.
impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}

/// poll(2) with a deadline instead of a time span; interrupted calls go on.
///
/// An error other than an interruption is left to the caller, whose next read shows it too.
pub(crate) fn poll_until(fds: &mut [PollFd], deadline: Option<Instant>) -> Result<Wake, Errno> {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(clock::now()));
        match poll_for(fds, left) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(Wake::TimedOut),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(Wake::Ready),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(target_os = "linux")]
fn poll_for(fds: &mut [PollFd], left: Option<Duration>) -> Result<i32, Errno> {
    nix::poll::ppoll(fds, left.map(Into::into), None)
}

#[cfg(not(target_os = "linux"))]
fn poll_for(fds: &mut [PollFd], left: Option<Duration>) -> Result<i32, Errno> {
    use nix::poll::PollTimeout;
    // Rounded up, so that the last fraction of a millisecond is not spent spinning.
    let timeout = left.map_or(PollTimeout::NONE, |left| {
        let ms = left.as_micros().div_ceil(1000);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    });
    nix::poll::poll(fds, timeout)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::thread;

    use super::*;

    /// Blocks a thread in `wait`, stops it, and wants `Cancelled` back.
    fn check(wait: impl FnOnce(&Cancel) -> Result<Wake, Cancelled> + Send) {
        let cancel = Cancel::new().expect("an eventfd");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&cancel));
            cancel.cancel();
            assert_eq!(waiting.join().expect("no panic"), Err(Cancelled));
        });
    }

    #[test]
    fn stop_ends_receive_accept_and_sleep() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        check(|cancel| cancel.wait(socket.as_fd(), PollFlags::POLLIN, None));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        check(|cancel| cancel.wait(listener.as_fd(), PollFlags::POLLIN, None));
        let far = clock::now() + Duration::from_secs(3600);
        check(|cancel| cancel.sleep_until(far).map(|()| Wake::TimedOut));
    }

    #[test]
    fn a_nudge_is_told_once_and_ends_no_other_wait() {
        let cancel = Cancel::new().expect("an eventfd");
        let bell = Bell::new().expect("an eventfd");
        let wait = || cancel.wait_any(&[bell.as_fd()], PollFlags::POLLIN, Some(clock::now()));
        cancel.nudge();
        assert_eq!(wait(), Ok(Wake::Nudged));
        assert_eq!(wait(), Ok(Wake::TimedOut));
        cancel.nudge();
        bell.ring();
        let deadline = Some(clock::now());
        let woken = cancel.wait(bell.as_fd(), PollFlags::POLLIN, deadline);
        assert_eq!(woken, Ok(Wake::Ready));
        cancel.nudge();
        cancel.cancel();
        assert_eq!(wait(), Err(Cancelled));
    }

    #[test]
    fn a_stopped_job_does_not_start_waiting() {
        let cancel = Cancel::new().expect("an eventfd");
        cancel.cancel();
        assert_eq!(cancel.sleep_until(clock::now()), Err(Cancelled));
    }

    #[test]
    fn a_passed_deadline_is_a_timeout() {
        let cancel = Cancel::new().expect("an eventfd");
        let bell = Bell::new().expect("an eventfd");
        let wait = || cancel.wait(bell.as_fd(), PollFlags::POLLIN, Some(clock::now()));
        assert_eq!(wait(), Ok(Wake::TimedOut));
        bell.ring();
        assert_eq!(wait(), Ok(Wake::Ready));
        bell.clear();
        assert_eq!(wait(), Ok(Wake::TimedOut));
    }
}
