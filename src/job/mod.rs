//! Jobs: each command in a thread of its own, listed, waited for and stopped.
//!
//! The shell never joins a job's thread: a job that does not end is marked stuck and left
//! alone, and a panic in a job ends that job with a message.

mod select;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use serde::Serialize;

pub(crate) use select::{newest_running, select};
pub(crate) use work::{Work, guarded, run_child, silence_panics};

use crate::cancel::{Bell, Cancel, Wake};
use crate::cause;
use crate::clock;
use crate::duration;
use crate::input::{Desk, Input};
use crate::output::{Event, Journal, LogFile, Output, Screen, Tone};
use crate::tool::{Context, Endpoint, Error, Progress, Status};

/// Ended jobs stay listed for `logs` and `wait`; the oldest go first.
const ENDED_JOBS_MAX: usize = 32;
/// How long `stop` waits before it calls a job stuck.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often a wait looks again that has no descriptor to be woken by.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// After this long `stop` says that it waits.
const STOP_TOLD_AFTER: Duration = Duration::from_millis(300);

pub(crate) struct Job {
    pub(crate) id: u32,
    /// The command's name.
    pub(crate) name: String,
    pub(crate) line: String,
    pub(crate) started: Instant,
    pub(crate) cancel: Cancel,
    pub(crate) output: Output,
    pub(crate) progress: Arc<Progress>,
    life: Mutex<Life>,
}

struct Life {
    state: State,
    /// Somebody waits for the end and will say so.
    awaited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Stopping,
    /// Was told to stop and has not for two seconds; the shell no longer waits for it.
    Stuck,
    Done {
        status: Status,
        after: Duration,
    },
}

impl Job {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> State {
        self.life().state
    }

    pub(crate) fn ended(&self) -> Option<Status> {
        match self.state() {
            State::Done { status, .. } => Some(status),
            State::Running | State::Stopping | State::Stuck => None,
        }
    }

    /// Asks the job to say how it goes.
    pub(crate) fn nudge(&self) {
        self.cancel.nudge();
    }

    pub(crate) fn stop(&self) {
        let mut life = self.life();
        if life.state == State::Running {
            life.state = State::Stopping;
        }
        drop(life);
        self.cancel.cancel();
    }

    pub(crate) fn is_foreground(&self) -> bool {
        self.output.journal().is_foreground()
    }

    pub(crate) fn set_foreground(&self, foreground: bool) {
        self.output.journal().set_foreground(foreground);
    }

    /// No notice of its end: whoever calls this says it.
    pub(crate) fn set_awaited(&self) {
        self.life().awaited = true;
    }

    /// A bell that rings with each line it prints, and when it ends.
    pub(crate) fn follow(&self) -> Result<Arc<Bell>, Error> {
        let bell = Arc::new(Bell::new().map_err(|error| cannot_start("following", &error))?);
        self.progress.watch(&bell);
        self.output.journal().follow(&bell);
        Ok(bell)
    }

    fn give_up(&self) {
        let mut life = self.life();
        if life.state == State::Stopping {
            life.state = State::Stuck;
        }
    }
}

/// What a job is started with.
pub(crate) struct Start {
    pub(crate) name: String,
    /// As `jobs` shows it.
    pub(crate) line: String,
    pub(crate) foreground: bool,
    pub(crate) json: bool,
    pub(crate) log: Option<LogFile>,
    /// Where in which script, before an error.
    pub(crate) position: String,
    pub(crate) work: Work,
}

pub(crate) struct JobTable {
    jobs: Mutex<BTreeMap<u32, Arc<Job>>>,
    screen: Arc<Screen>,
    /// The shell's own output, for notices.
    pub(crate) notices: Output,
    desk: Arc<Desk>,
    /// Whether the end of a background job is told as it happens.
    announces: bool,
}

impl JobTable {
    pub(crate) fn new(
        screen: Arc<Screen>,
        notices: Output,
        desk: Arc<Desk>,
        announces: bool,
    ) -> JobTable {
        JobTable {
            jobs: Mutex::default(),
            screen,
            notices,
            desk,
            announces,
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs that are listed, by number; the one in the foreground is not.
    pub(crate) fn listed(&self) -> Vec<Arc<Job>> {
        let jobs = self.jobs();
        jobs.values()
            .filter(|job| !job.is_foreground())
            .cloned()
            .collect()
    }

    /// Tells all jobs to stop, the one in the foreground too, and waits two seconds at most.
    pub(crate) fn stop_all(&self) {
        let mut jobs: Vec<Arc<Job>> = self.jobs().values().cloned().collect();
        // Stuck ones have had their time.
        jobs.retain(|job| matches!(job.state(), State::Running | State::Stopping));
        // Without a descriptor to wait on, they are told all the same.
        for job in &jobs {
            job.set_awaited();
            job.stop();
        }
        if let Ok(never) = Cancel::new() {
            let _ = JobTable::stop(&jobs, &never, |_| ());
        }
    }

    pub(crate) fn running(&self) -> Vec<Arc<Job>> {
        let mut jobs = self.listed();
        jobs.retain(|job| matches!(job.state(), State::Running | State::Stopping));
        jobs
    }

    pub(crate) fn start(self: &Arc<JobTable>, start: Start) -> Result<Arc<Job>, Error> {
        let cancel = Cancel::new().map_err(|error| cannot_start(&start.name, &error))?;
        let mut jobs = self.jobs();
        tidy(&mut jobs);
        let id = jobs.keys().next_back().map_or(1, |last| last + 1);
        let journal = Journal::of_job(Arc::clone(&self.screen), id, start.foreground);
        let job = Arc::new(Job {
            id,
            name: start.name,
            line: start.line,
            started: clock::now(),
            cancel,
            output: self
                .notices
                .for_job(journal)
                .with_json(start.json)
                .with_log(start.log),
            progress: Arc::default(),
            life: Mutex::new(Life {
                state: State::Running,
                awaited: false,
            }),
        });
        let table = Arc::downgrade(self);
        let context = Context {
            neighbours: Arc::new(move |endpoint| table.upgrade()?.listens(endpoint)),
            out: job.output.clone(),
            input: Input::new(Arc::clone(&self.desk), Arc::clone(job.output.journal())),
            cancel: job.cancel.clone(),
            progress: Arc::clone(&job.progress),
        };
        let (table, ending) = (Arc::clone(self), Arc::clone(&job));
        work::spawn(
            &job.name,
            id,
            start.position,
            context,
            start.work,
            move |status| {
                table.end(&ending, status);
            },
        )
        .map_err(|error| cannot_start(&job.name, &error))?;
        jobs.insert(id, Arc::clone(&job));
        Ok(job)
    }

    /// The job that has this address.
    fn listens(&self, wanted: Endpoint) -> Option<(u32, String)> {
        let overlaps = |has: &Endpoint| has.overlaps(wanted);
        let mut running = self.running().into_iter();
        let job = running.find(|job| job.progress.listening().iter().any(overlaps))?;
        Some((job.id, job.line.clone()))
    }

    fn end(&self, job: &Job, status: Status) {
        let after = clock::now().saturating_duration_since(job.started);
        let mut life = job.life();
        life.state = State::Done { status, after };
        let tell = self.announces && !job.is_foreground() && !life.awaited;
        drop(life);
        if tell {
            let seconds = after.as_secs_f64();
            self.notices.tell(&Ended {
                id: job.id,
                command: &job.line,
                status: status.0,
                seconds,
            });
        }
        job.progress.ring();
    }

    pub(crate) fn tidy(&self) {
        tidy(&mut self.jobs());
    }

    /// Waits until `done` holds, asking again whenever one of the jobs changes.
    pub(crate) fn wait(
        jobs: &[Arc<Job>],
        cancel: &Cancel,
        deadline: Option<Instant>,
        done: impl Fn() -> bool,
    ) -> Result<Wake, Error> {
        // Servers may have taken all descriptors, and then stopping them has to work.
        let bell = Bell::new().ok().map(Arc::new);
        for (job, bell) in jobs.iter().zip(bell.iter().cycle()) {
            job.progress.watch(bell);
        }
        while !done() {
            let Some(bell) = &bell else {
                let now = clock::now();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    return Ok(Wake::TimedOut);
                }
                cancel.sleep_until(now + LOOK_AGAIN_AFTER)?;
                continue;
            };
            match cancel.wait(bell.as_fd(), PollFlags::POLLIN, deadline)? {
                Wake::Ready | Wake::Nudged => bell.clear(),
                Wake::TimedOut => return Ok(Wake::TimedOut),
            }
        }
        Ok(Wake::Ready)
    }

    /// Stops the jobs and waits, two seconds longer than they are given at most; what has not
    /// ended then is stuck.
    ///
    /// `told` hears of how many are waited for when it takes longer than a moment.
    pub(crate) fn stop(
        jobs: &[Arc<Job>],
        cancel: &Cancel,
        told: impl FnOnce(usize),
    ) -> Result<(), Error> {
        for job in jobs {
            job.set_awaited();
            job.stop();
        }
        let running = || jobs.iter().filter(|job| job.ended().is_none()).count();
        let began = clock::now();
        let soon = Some(began + STOP_TOLD_AFTER);
        if JobTable::wait(jobs, cancel, soon, || running() == 0)? == Wake::Ready {
            return Ok(());
        }
        told(running());
        let grace = jobs.iter().map(|job| job.progress.grace()).max();
        let patience = STOP_WAIT_MAX + grace.unwrap_or_default();
        JobTable::wait(jobs, cancel, Some(began + patience), || running() == 0)?;
        for job in jobs {
            job.give_up();
        }
        Ok(())
    }
}

/// Drops what ended in the foreground, and the oldest ended ones beyond the limit.
fn tidy(jobs: &mut BTreeMap<u32, Arc<Job>>) {
    jobs.retain(|_, job| !(job.is_foreground() && job.ended().is_some()));
    let ended: Vec<u32> = jobs
        .values()
        .filter(|job| job.ended().is_some())
        .map(|job| job.id)
        .collect();
    for id in ended
        .iter()
        .take(ended.len().saturating_sub(ENDED_JOBS_MAX))
    {
        jobs.remove(id);
    }
}

/// A background job ended by itself.
#[derive(Serialize)]
#[serde(tag = "event", rename = "ended")]
struct Ended<'a> {
    id: u32,
    command: &'a str,
    status: u8,
    seconds: f64,
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = duration::human(Duration::from_secs_f64(self.seconds));
        let Ended {
            id,
            command,
            status,
            ..
        } = self;
        write!(
            f,
            "[{id}] ended with status {status} after {after}: {command}"
        )
    }
}

impl Event for Ended<'_> {
    fn tone(&self) -> Tone {
        if self.status == 0 {
            Tone::Good
        } else {
            Tone::Caution
        }
    }
}

fn cannot_start(name: &str, error: &std::io::Error) -> Error {
    Error::Unavailable(format!("cannot start {name}: {}", cause::of(error)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::output::{Choice, Colours, Surface};

    fn table() -> (Arc<JobTable>, Arc<Screen>) {
        let bell = Arc::new(Bell::new().expect("an eventfd"));
        let colours = Colours::resolve(Choice::Never);
        let screen = Screen::new(Surface::Terminal, colours, Arc::clone(&bell));
        screen.set_editing(true);
        let notices = Output::new(Journal::of_shell(Arc::clone(&screen)), false, false);
        let desk = Arc::new(Desk::new(bell));
        (
            Arc::new(JobTable::new(Arc::clone(&screen), notices, desk, true)),
            screen,
        )
    }

    fn start(table: &Arc<JobTable>, work: Work) -> Arc<Job> {
        let start = Start {
            name: "test".to_owned(),
            line: "test".to_owned(),
            foreground: false,
            json: false,
            log: None,
            position: String::new(),
            work,
        };
        table.start(start).expect("a thread")
    }

    fn wait_for_end(job: &Arc<Job>) -> Status {
        let never = Cancel::new().expect("an eventfd");
        let ended = || job.ended().is_some();
        JobTable::wait(&[Arc::clone(job)], &never, None, ended).expect("not cancelled");
        job.ended().expect("it ended")
    }

    #[test]
    fn a_job_that_panics_ends_with_a_message_and_harms_no_other() {
        let (table, _screen) = table();
        let other = start(
            &table,
            Box::new(|context| {
                context
                    .cancel
                    .sleep_until(clock::now() + Duration::from_secs(100))?;
                Ok(Status::OK)
            }),
        );
        let job = start(&table, Box::new(|_| panic!("boom")));
        assert_eq!(wait_for_end(&job), Status::INTERNAL);
        let (lines, _) = job.output.journal().lines_after(0);
        assert_eq!(
            &*lines[0].text,
            "test: internal error, please report it: boom"
        );
        assert_eq!(other.state(), State::Running);
        other.stop();
        assert_eq!(wait_for_end(&other), Status::INTERRUPTED);
    }

    #[test]
    fn a_job_that_does_not_end_is_stuck_and_left_alone() {
        let (table, _screen) = table();
        let (release, wait) = channel::<()>();
        let job = start(
            &table,
            Box::new(move |_| {
                let _ = wait.recv();
                Ok(Status::OK)
            }),
        );
        let never = Cancel::new().expect("an eventfd");
        let mut told = 0;
        JobTable::stop(&[Arc::clone(&job)], &never, |count| told = count).expect("not cancelled");
        assert_eq!((told, job.state()), (1, State::Stuck));
        assert!(
            table.running().is_empty(),
            "nobody is asked about it at the exit"
        );
        release.send(()).expect("it waits");
        assert_eq!(wait_for_end(&job), Status::OK);
    }

    #[test]
    fn ended_jobs_stay_for_their_logs_but_not_for_ever() {
        let (table, _screen) = table();
        for _ in 0..ENDED_JOBS_MAX + 5 {
            wait_for_end(&start(&table, Box::new(|_| Ok(Status::OK))));
        }
        table.tidy();
        let listed = table.listed();
        assert_eq!((listed.len(), listed[0].id), (ENDED_JOBS_MAX, 6));
    }
}
