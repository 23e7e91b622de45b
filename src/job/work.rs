//! Runs a command in a named thread, and turns whatever happens there into a status.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use nix::poll::PollFlags;

use super::{STOP_WAIT_MAX, cannot_start};
use crate::cancel::{Bell, Cancel, Wake};
use crate::clock;
use crate::output::Output;
use crate::tool::{Context, Error, Status};

pub(crate) type Work = Box<dyn FnOnce(&Context) -> Result<Status, Error> + Send>;

thread_local! {
    static PANICS_ARE_TOLD_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Panics that are caught, and told as errors, print nothing by themselves.
pub(crate) fn silence_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !PANICS_ARE_TOLD_HERE.get() {
            default(info);
        }
    }));
}

/// Runs `work`, with a panic as an error text.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = PANICS_ARE_TOLD_HERE.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    PANICS_ARE_TOLD_HERE.set(before);
    result.map_err(|payload| match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast::<&str>() {
            Ok(text) => (*text).to_owned(),
            Err(_) => "no reason given".to_owned(),
        },
    })
}

pub(super) fn spawn(
    name: &str,
    id: u32,
    position: String,
    context: Context,
    work: Work,
    end: impl FnOnce(Status) + Send + 'static,
) -> io::Result<()> {
    let name = name.to_owned();
    thread::Builder::new()
        .name(format!("{name}#{id}"))
        .spawn(move || end(run(&format!("{position}{name}"), &context, work)))?;
    Ok(())
}

fn run(label: &str, context: &Context, work: Work) -> Status {
    match guarded(|| work(context)) {
        Ok(Ok(status)) => status,
        Ok(Err(Error::Cancelled)) => Status::INTERRUPTED,
        Ok(Err(error)) => {
            let status = error.status();
            context.out.error(format!("{label}: {error}"), status.0);
            status
        }
        Err(panic) => {
            let text = format!("{label}: internal error, please report it: {panic}");
            context.out.error(text, Status::INTERNAL.0);
            Status::INTERNAL
        }
    }
}

/// Runs a command of a job (`timeout 3 ping ...`) in a thread of its own.
///
/// It ends with the job, or at the deadline with [`Error::TimedOut`].
pub(crate) fn run_child(
    parent: &Context,
    name: &str,
    position: String,
    output: Output,
    deadline: Option<Instant>,
    work: Work,
) -> Result<Status, Error> {
    let trouble = |error| cannot_start(name, &error);
    let cancel = Cancel::new().map_err(trouble)?;
    let ended = Arc::new(Bell::new().map_err(trouble)?);
    let status = Arc::new(Mutex::new(None));
    let context = Context {
        out: output,
        cancel: cancel.clone(),
        ..parent.clone()
    };
    let (bell, slot) = (Arc::clone(&ended), Arc::clone(&status));
    spawn(name, 0, position, context, work, move |status| {
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
        bell.ring();
    })
    .map_err(trouble)?;
    let result = || *status.lock().unwrap_or_else(PoisonError::into_inner);
    let woken = loop {
        let fds = [ended.as_fd()];
        match parent.cancel.wait_any(&fds, PollFlags::POLLIN, deadline) {
            Ok(Wake::Nudged) => cancel.nudge(),
            other => break other,
        }
    };
    if let (Ok(Wake::Ready), Some(status)) = (woken, result()) {
        return Ok(status);
    }
    cancel.cancel();
    // It says its last words before its parent goes on.
    let patience = Some(clock::now() + STOP_WAIT_MAX);
    let mut fds = [nix::poll::PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    let _ = crate::cancel::poll_until(&mut fds, patience);
    match woken {
        Ok(_) => Err(Error::TimedOut(format!("{name} did not end in time"))),
        Err(cancelled) => Err(cancelled.into()),
    }
}
