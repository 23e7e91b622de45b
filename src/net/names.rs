//! Names to addresses for those who ask often: remembered for a while, and asked once for all
//! who wait.
//!
//! The system's resolver does not tell the records' time to live, and it cannot be cancelled:
//! it has threads of its own, which are left behind by those who stop waiting.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::lookup::{Answer, Error, ask_system, without_lookup};
use crate::cancel::{Bell, Cancel};
use crate::{cause, clock};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A name with its addresses takes some two thousand octets at most, mostly two hundred.
    pub(crate) names_max: usize,
    /// At once; each has a thread, for up to half a minute where name servers are silent.
    pub(crate) lookups_max: usize,
    /// Few records live shorter, and a name whose addresses fail can be invalidated.
    pub(crate) found_for: Duration,
    pub(crate) not_found_for: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            names_max: 1024,
            lookups_max: 64,
            found_for: Duration::from_secs(60),
            // What was just mistyped or unplugged is soon asked for again.
            not_found_for: Duration::from_secs(5),
        }
    }
}

/// Asks for the addresses of a name, however long it takes.
pub(crate) type Lookup = Box<dyn Fn(&str) -> Answer + Send + Sync>;

pub(crate) struct Names(Arc<Shared>);

struct Shared {
    lookups_max: usize,
    lookup: Lookup,
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    asked: HashMap<String, Asked>,
    /// The asked names that have no thread yet. Each has somebody who waits for it, so that
    /// there are no more than callers.
    waiting: VecDeque<String>,
    threads: usize,
}

struct Asked {
    question: Arc<Question>,
    waiters: usize,
}

struct Question {
    answer: OnceLock<Answer>,
    /// Rings once for all.
    answered: Bell,
}

impl Names {
    pub(crate) fn new(limits: Limits) -> Names {
        Names::with_lookup(limits, Box::new(ask_system))
    }

    pub(crate) fn with_lookup(limits: Limits, lookup: Lookup) -> Names {
        Names(Arc::new(Shared {
            lookups_max: limits.lookups_max,
            lookup,
            state: Mutex::new(State {
                cache: Cache {
                    limits,
                    known: HashMap::new(),
                },
                asked: HashMap::new(),
                waiting: VecDeque::new(),
                threads: 0,
            }),
        }))
    }

    /// The addresses of a host with this port, at least one.
    pub(crate) fn resolve(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        cancel: &Cancel,
    ) -> Answer {
        let answer = match without_lookup(host) {
            Some(answer) => answer,
            None => self.ask(&host.to_ascii_lowercase(), deadline, cancel),
        };
        let mut addresses = answer?;
        for address in &mut addresses {
            address.set_port(port);
        }
        Ok(addresses)
    }

    /// Forgets the addresses of a host, which were of no use.
    pub(crate) fn invalidate(&self, host: &str) {
        let name = host.to_ascii_lowercase();
        self.0.state().cache.known.remove(&name);
    }

    fn ask(&self, name: &str, deadline: Instant, cancel: &Cancel) -> Answer {
        let now = clock::now();
        let question = {
            let mut state = self.0.state();
            if let Some(answer) = state.cache.find(name, now) {
                return answer.clone();
            }
            self.join(&mut state, name).map_err(|error| Error::Failed {
                host: name.to_owned(),
                why: format!("cannot start a resolver: {}", cause::of(&error)),
            })?
        };
        let answered = question.answered.as_fd();
        let waited = cancel.wait(answered, PollFlags::POLLIN, Some(deadline));
        let answer = self.leave(name, &question);
        waited?;
        answer.unwrap_or_else(|| Err(Error::TimedOut(name.to_owned())))
    }

    fn join(&self, state: &mut State, name: &str) -> io::Result<Arc<Question>> {
        if let Some(asked) = state.asked.get_mut(name) {
            asked.waiters += 1;
            return Ok(Arc::clone(&asked.question));
        }
        let question = Arc::new(Question {
            answer: OnceLock::new(),
            answered: Bell::new()?,
        });
        match self.start(state, name) {
            Ok(true) => {}
            // A thread that is there comes to it later.
            Ok(false) => state.waiting.push_back(name.to_owned()),
            Err(_) if state.threads > 0 => state.waiting.push_back(name.to_owned()),
            Err(error) => return Err(error),
        }
        let asked = Asked {
            question: Arc::clone(&question),
            waiters: 1,
        };
        state.asked.insert(name.to_owned(), asked);
        Ok(question)
    }

    /// Whether the name has a thread now.
    fn start(&self, state: &mut State, name: &str) -> io::Result<bool> {
        if state.threads >= self.0.lookups_max {
            return Ok(false);
        }
        let (shared, name) = (Arc::clone(&self.0), name.to_owned());
        thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || shared.work(name))?;
        state.threads += 1;
        Ok(true)
    }

    /// Waits no more. What nobody waits for is not asked; what is being asked is remembered.
    fn leave(&self, name: &str, question: &Question) -> Option<Answer> {
        let mut state = self.0.state();
        if let Some(answer) = question.answer.get() {
            return Some(answer.clone());
        }
        let asked = state.asked.get_mut(name)?;
        asked.waiters -= 1;
        if asked.waiters == 0
            && let Some(place) = state.waiting.iter().position(|waiting| waiting == name)
        {
            state.waiting.remove(place);
            state.asked.remove(name);
        }
        None
    }
}

impl Shared {
    /// Asks for this name, then for those that wait.
    fn work(&self, name: String) {
        let mut next = Some(name);
        while let Some(name) = next {
            let answer = match (self.lookup)(&name) {
                Ok(addresses) if addresses.is_empty() => Err(Error::NotFound(name.clone())),
                answer => answer,
            };
            let now = clock::now();
            let mut state = self.state();
            state.cache.insert(&name, answer.clone(), now);
            if let Some(asked) = state.asked.remove(&name) {
                let _ = asked.question.answer.set(answer);
                asked.question.answered.ring();
            }
            next = state.waiting.pop_front();
            state.threads -= usize::from(next.is_none());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Cache {
    limits: Limits,
    known: HashMap<String, Known>,
}

struct Known {
    answer: Answer,
    until: Instant,
}

impl Cache {
    fn find(&self, name: &str, now: Instant) -> Option<&Answer> {
        let known = self.known.get(name)?;
        (now < known.until).then_some(&known.answer)
    }

    /// Where there are too many, the one that ends first makes room: names that do not exist
    /// drive out each other.
    fn insert(&mut self, name: &str, answer: Answer, now: Instant) {
        if self.known.len() >= self.limits.names_max && !self.known.contains_key(name) {
            let first = self.known.iter().min_by_key(|(_, known)| known.until);
            if let Some(first) = first.map(|(first, _)| first.clone()) {
                self.known.remove(&first);
            }
        }
        let until = match answer {
            Ok(_) => now + self.limits.found_for,
            Err(_) => now + self.limits.not_found_for,
        };
        let known = Known { answer, until };
        self.known.insert(name.to_owned(), known);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Barrier;

    use super::super::lookup::{FOR_NOW, NO_SUCH_NAME};
    use super::*;

    const FAR: Duration = Duration::from_secs(3600);

    /// Names whose lookups are written down. That of a name which begins with `slow` waits for
    /// the test to come to the barrier, too.
    struct Network {
        names: Names,
        asked: Arc<Mutex<Vec<String>>>,
        slow: Arc<Barrier>,
    }

    fn network(limits: Limits) -> Network {
        let (asked, slow) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Barrier::new(2)));
        let (list, barrier) = (Arc::clone(&asked), Arc::clone(&slow));
        let lookup = move |name: &str| {
            list.lock().expect("no panic").push(name.to_owned());
            if name.starts_with("slow") {
                barrier.wait();
            }
            answer(name)
        };
        Network {
            names: Names::with_lookup(limits, Box::new(lookup)),
            asked,
            slow,
        }
    }

    fn answer(name: &str) -> Answer {
        match name {
            "none.example" => Err(Error::NotFound(name.to_owned())),
            "later.example" => Err(Error::Temporary(name.to_owned())),
            "empty.example" => Ok(Vec::new()),
            _ => Ok(vec![SocketAddr::from(([192, 0, 2, 1], 0))]),
        }
    }

    impl Network {
        /// The addresses, or the error.
        fn resolve_for(&self, host: &str, time: Duration) -> String {
            let cancel = Cancel::new().expect("an eventfd");
            text(self.names.resolve(host, 80, clock::now() + time, &cancel))
        }

        fn asked(&self) -> String {
            self.asked.lock().expect("no panic").join(" ")
        }
    }

    fn text(answer: Answer) -> String {
        match answer {
            Ok(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
                addresses.join(" ")
            }
            Err(error) => super::super::Error::from(error).to_string(),
        }
    }

    /// What a host resolves to, twice, and what was looked up for that.
    #[track_caller]
    fn check(host: &str, expected: &str, asked: &str) {
        let network = network(Limits::default());
        assert_eq!(network.resolve_for(host, FAR), expected);
        assert_eq!(network.resolve_for(host, FAR), expected);
        assert_eq!(network.asked(), asked, "{host}");
    }

    #[test]
    fn names_are_looked_up_once() {
        let host = "WWW.example";
        check(host, "192.0.2.1:80", "www.example");
        for (host, why) in [
            ("none.example", NO_SUCH_NAME),
            ("empty.example", NO_SUCH_NAME),
            ("later.example", FOR_NOW),
        ] {
            check(host, &format!("cannot resolve '{host}': {why}"), host);
        }
        let network = network(Limits::default());
        network.resolve_for(host, FAR);
        network.names.invalidate(host);
        network.resolve_for(host, FAR);
        assert_eq!(network.asked(), "www.example www.example");
    }

    #[test]
    fn a_crowd_makes_one_lookup() {
        const CROWD: usize = 24;
        let network = network(Limits::default());
        let (crowd, network) = (Barrier::new(CROWD + 1), &network);
        thread::scope(|scope| {
            let ask = || {
                crowd.wait();
                network.resolve_for("slow.example", FAR)
            };
            let asking: Vec<_> = (0..CROWD).map(|_| scope.spawn(ask)).collect();
            crowd.wait();
            network.slow.wait();
            for asking in asking {
                assert_eq!(asking.join().expect("no panic"), "192.0.2.1:80");
            }
        });
        assert_eq!(network.asked(), "slow.example");
    }

    #[test]
    fn an_answer_after_the_deadline_is_remembered() {
        let network = network(Limits::default());
        let late = "cannot resolve 'slow.example': the resolver did not answer in time";
        assert_eq!(network.resolve_for("slow.example", Duration::ZERO), late);
        network.slow.wait();
        assert_eq!(network.resolve_for("slow.example", FAR), "192.0.2.1:80");
        assert_eq!(
            network.resolve_for("slow.example", Duration::ZERO),
            "192.0.2.1:80"
        );
        assert_eq!(network.asked(), "slow.example");
    }

    #[test]
    fn what_is_too_much_at_once_waits_while_somebody_wants_it() {
        let network = &network(Limits {
            lookups_max: 1,
            ..Limits::default()
        });
        thread::scope(|scope| {
            network.resolve_for("slow.example", Duration::ZERO);
            network.resolve_for("hasty.example", Duration::ZERO);
            let patient = scope.spawn(|| network.resolve_for("patient.example", FAR));
            network.slow.wait();
            assert_eq!(patient.join().expect("no panic"), "192.0.2.1:80");
        });
        assert_eq!(network.asked(), "slow.example patient.example");
    }

    #[test]
    fn stop_ends_the_wait_for_a_name() {
        let network = &network(Limits::default());
        let cancel = &Cancel::new().expect("an eventfd");
        let far = clock::now() + FAR;
        thread::scope(|scope| {
            let ask = move || network.names.resolve("slow.example", 80, far, cancel);
            let asking = scope.spawn(ask);
            cancel.cancel();
            let answer = asking.join().expect("no panic");
            assert_eq!(answer, Err(Error::Cancelled));
        });
        network.slow.wait();
    }

    #[test]
    fn what_is_known_ends_and_makes_room() {
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut cache = Cache {
            limits: Limits {
                names_max: 2,
                ..Limits::default()
            },
            known: HashMap::new(),
        };
        let known = |cache: &Cache, seconds| {
            let is_known = |name: &&str| cache.find(name, at(seconds)).is_some();
            let names = ["a.example", "b.example", "none.example", "later.example"];
            names.into_iter().filter(is_known).collect::<Vec<_>>()
        };
        for (seconds, name, expected) in [
            (0, "a.example", vec!["a.example"]),
            (1, "none.example", vec!["a.example", "none.example"]),
            (2, "later.example", vec!["a.example", "later.example"]),
            (3, "b.example", vec!["a.example", "b.example"]),
            (4, "a.example", vec!["a.example", "b.example"]),
            (5, "none.example", vec!["a.example", "none.example"]),
        ] {
            cache.insert(name, answer(name), at(seconds));
            assert_eq!(known(&cache, seconds), expected, "{name}");
        }
        assert_eq!(known(&cache, 9), ["a.example", "none.example"]);
        assert_eq!(known(&cache, 10), ["a.example"]);
        assert_eq!(known(&cache, 63), ["a.example"]);
        assert!(known(&cache, 64).is_empty());
    }
}
