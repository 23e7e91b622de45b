//! Two connections of which each gets what comes from the other: CONNECT (RFC 9110 section
//! 9.3.6) and what follows a 101 answer. Nobody looks into it.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::faults::{Fault, Pace};
use super::lobby::Guest;
use super::pipe::Pipe;
use super::shared::Shared;
use super::tally::TunnelRecord;
use crate::cancel::{Wake, poll_until};
use crate::clock;
use crate::net::peer::Peer;
use crate::web::places::Place;

/// A tunnel that carries nothing for so long gives its thread back.
const PATIENCE: Duration = Duration::from_millis(20);
/// One that has carried something in this time only pauses: it may end by itself when the proxy
/// does.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// And is closed after this time: what is at its ends may have gone long ago.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(3600);
/// Copied before it is worth having a pipe, through which the kernel moves the rest.
const COPIED_OCTETS: u64 = 256 << 10;
const BUFFER_OCTETS: usize = 64 << 10;

pub(super) struct Tunnel {
    client: Peer,
    origin: Peer,
    up: Flow,
    down: Flow,
    record: TunnelRecord,
    /// Octets so far, and since when it is so many.
    carried: (u64, Option<Instant>),
    _place: Place,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Came, and did not fit yet.
    waiting: Vec<u8>,
    octets: u64,
    /// The source has sent all it will.
    is_over: bool,
    /// And the other end knows.
    is_closed: bool,
    /// As over a slow line.
    pace: Option<Pace>,
}

enum Fate {
    /// Nothing moves.
    Idle,
    Over,
}

impl Tunnel {
    /// `from_client` and `from_origin` have come already.
    pub(super) fn new(
        (client, origin): (Peer, Peer),
        from_client: Vec<u8>,
        from_origin: Vec<u8>,
        fault: &Fault,
        place: Place,
        record: TunnelRecord,
    ) -> Tunnel {
        let now = clock::now();
        let flow = |waiting: Vec<u8>| Flow {
            octets: waiting.len() as u64,
            waiting,
            pace: fault.rate.map(|rate| Pace::new(rate, now)),
            ..Flow::default()
        };
        Tunnel {
            client,
            origin,
            up: flow(from_client),
            down: flow(from_origin),
            record,
            carried: (0, None),
            _place: place,
        }
    }

    pub(super) fn is_pausing(&self, now: Instant) -> bool {
        let (_, since) = self.carried;
        since.is_some_and(|since| now < since + PAUSE_MAX)
    }

    /// Each with whether more can come from there.
    pub(super) fn ends(&self) -> [(&Peer, bool); 2] {
        [
            (&self.client, !self.up.is_over),
            (&self.origin, !self.down.is_over),
        ]
    }

    /// Carries octets until both ends are done, or until nothing moves; then it waits in the
    /// lobby.
    pub(super) fn run(mut self, shared: &Shared) {
        while let Ok(Fate::Idle) = self.carry(shared) {
            let deadline = clock::now() + IDLE_MAX;
            match shared.lobby.seat(Guest::Tunnel(Box::new(self)), deadline) {
                Some(Guest::Tunnel(tunnel)) if tunnel.is_pausing(clock::now()) => self = *tunnel,
                Some(_) | None => return,
            }
        }
    }

    fn carry(&mut self, shared: &Shared) -> io::Result<Fate> {
        let mut buffer = Vec::new();
        let (mut up_pipe, mut down_pipe) = (None, None);
        let mut ready = Ready {
            client: true,
            origin: true,
        };
        loop {
            let (client, origin) = (&self.client, &self.origin);
            if ready.client || self.up.is_stuck(&up_pipe) {
                self.up.advance(client, origin, &mut buffer, &mut up_pipe)?;
            }
            if ready.origin || self.down.is_stuck(&down_pipe) {
                self.down
                    .advance(origin, client, &mut buffer, &mut down_pipe)?;
            }
            let now = clock::now();
            self.record.note(self.up.octets, self.down.octets);
            if self.up.octets + self.down.octets > self.carried.0 {
                self.carried = (self.up.octets + self.down.octets, Some(now));
            }
            if self.up.is_closed && self.down.is_closed {
                return Ok(Fate::Over);
            }
            let is_stuck = self.up.is_stuck(&up_pipe) || self.down.is_stuck(&down_pipe);
            let pause = self.up.pause(now).max(self.down.pause(now));
            let deadline = match (is_stuck, pause) {
                (_, Duration::ZERO) if !is_stuck => now + PATIENCE,
                (true, Duration::ZERO) => now + shared.limits.stall,
                (_, pause) => now + pause,
            };
            let of_client = interest((&self.up, &up_pipe), (&self.down, &down_pipe));
            let of_origin = interest((&self.down, &down_pipe), (&self.up, &up_pipe));
            match self.wait(of_client, of_origin, shared, deadline)? {
                Some(now_ready) => ready = now_ready,
                None if !pause.is_zero() => {
                    ready = Ready {
                        client: true,
                        origin: true,
                    };
                }
                None if is_stuck => return Ok(Fate::Over),
                None => return Ok(Fate::Idle),
            }
        }
    }

    fn wait(
        &self,
        of_client: PollFlags,
        of_origin: PollFlags,
        shared: &Shared,
        deadline: Instant,
    ) -> io::Result<Option<Ready>> {
        let mut fds = vec![PollFd::new(shared.cut.as_fd(), PollFlags::POLLIN)];
        let client = watch(&mut fds, &self.client, of_client, &self.down);
        let origin = watch(&mut fds, &self.origin, of_origin, &self.up);
        let wake = poll_until(&mut fds, Some(deadline))?;
        if shared.cut.is_cancelled() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let shown = |place: Option<usize>| {
            let fd = place.and_then(|place| fds.get(place));
            fd.and_then(PollFd::revents).unwrap_or(PollFlags::empty())
        };
        // An end that has said all it will can still be gone altogether.
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        let is_gone = |place, flags: PollFlags| flags.is_empty() && shown(place).intersects(gone);
        if is_gone(client, of_client) || is_gone(origin, of_origin) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        Ok((wake != Wake::TimedOut).then(|| Ready {
            client: !shown(client).is_empty(),
            origin: !shown(origin).is_empty(),
        }))
    }
}

/// Has poll look at an end; where among the others. One that is done both ways is left out: poll
/// would tell so again and again.
fn watch<'p>(
    fds: &mut Vec<PollFd<'p>>,
    end: &'p Peer,
    flags: PollFlags,
    to: &Flow,
) -> Option<usize> {
    if flags.is_empty() && to.is_closed {
        return None;
    }
    fds.push(PollFd::new(end.as_fd(), flags));
    Some(fds.len() - 1)
}

struct Ready {
    client: bool,
    origin: bool,
}

/// What an end is waited for that is the source of one flow and takes the other.
fn interest(from: (&Flow, &Option<Pipe>), to: (&Flow, &Option<Pipe>)) -> PollFlags {
    let mut flags = PollFlags::empty();
    if !from.0.is_over && !from.0.is_stuck(from.1) && from.0.pause(clock::now()).is_zero() {
        flags |= PollFlags::POLLIN;
    }
    if to.0.is_stuck(to.1) {
        flags |= PollFlags::POLLOUT;
    }
    flags
}

impl Flow {
    /// The other end must take something before more can come.
    fn is_stuck(&self, pipe: &Option<Pipe>) -> bool {
        !self.waiting.is_empty() || pipe.as_ref().is_some_and(|pipe| pipe.octets > 0)
    }

    /// How long nothing more may be sent.
    fn pause(&self, now: Instant) -> Duration {
        let is_waited_for = !self.is_over;
        let pace = self.pace.as_ref().filter(|_| is_waited_for);
        pace.map_or(Duration::ZERO, |pace| pace.wait(now))
    }

    /// Moves once what there is, without waiting.
    fn advance(
        &mut self,
        from: &Peer,
        to: &Peer,
        buffer: &mut Vec<u8>,
        pipe: &mut Option<Pipe>,
    ) -> io::Result<()> {
        let now = clock::now();
        let mut octets = BUFFER_OCTETS;
        if let Some(pace) = &self.pace {
            if self.waiting.is_empty() && !pace.wait(now).is_zero() {
                return Ok(());
            }
            octets = octets.min(usize::try_from(pace.allowed(now)).unwrap_or(octets));
        } else if self.octets > COPIED_OCTETS && pipe.is_none() {
            // The kernel looks at the source's own setting when it fills a pipe.
            from.set_nonblocking()?;
            *pipe = Pipe::open();
        }
        if !self.is_over && !self.is_stuck(pipe) {
            let received = match pipe {
                Some(pipe) => pipe.fill(from)?,
                None => {
                    // All of the buffer is received into.
                    match &self.pace {
                        Some(_) => *buffer = Vec::with_capacity(octets),
                        None => buffer.clear(),
                    }
                    let received = from.receive_now(buffer, octets)?;
                    if let Some(pace) = &mut self.pace {
                        pace.on_sent(buffer.len() as u64, now);
                    }
                    let sent = to.send_now(buffer)?;
                    self.waiting.extend_from_slice(&buffer[sent..]);
                    received
                }
            };
            match received {
                Some(0) => self.is_over = true,
                Some(count) => self.octets += count as u64,
                None => {}
            }
        }
        if !self.waiting.is_empty() {
            let sent = to.send_now(&self.waiting)?;
            self.waiting.drain(..sent);
        }
        if let Some(pipe) = pipe {
            pipe.drain(to)?;
        }
        if self.is_over && !self.is_closed && !self.is_stuck(pipe) {
            to.finish_sending();
            self.is_closed = true;
        }
        Ok(())
    }
}
