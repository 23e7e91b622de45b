//! A round of questions: many packets at once, and the answers that come in time.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Answer, Probe, Prober};
use crate::cancel::Cancel;
use crate::{clock, net};

/// How long answers are waited for as long as nobody knows how long they take.
pub(crate) const PATIENCE_FIRST: Duration = Duration::from_millis(1000);
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// Answers take up to so many times as long as the slowest so far.
const SLOWER: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) hop_limit: u8,
    pub(crate) flow: u16,
    pub(crate) octets: usize,
}

/// An answer, and the place of what it answers.
pub(crate) struct Heard {
    pub(crate) question: usize,
    pub(crate) rtt: Duration,
    pub(crate) answer: Answer,
}

/// Sends each question in copies and collects the answers until all have one, or `is_enough`,
/// or for so long.
pub(crate) fn ask(
    prober: &mut Prober,
    questions: &[Question],
    copies: usize,
    patience: Duration,
    cancel: &Cancel,
    is_enough: impl Fn(&[Heard]) -> bool,
) -> Result<Vec<Heard>, net::Error> {
    let cannot = |error| net::Error::System {
        what: "cannot probe".to_owned(),
        error,
    };
    // What is left over from the last round answers nothing now.
    prober.receive().map_err(cannot)?;
    let count = copies * questions.len();
    let first_key = prober.reserve_keys(count);
    let mut sent_at = vec![clock::now(); count];
    let (mut has_sent, mut refused) = (false, None);
    let mut heard: Vec<Heard> = Vec::new();
    let mut is_heard = vec![false; questions.len()];
    let mut take = |prober: &mut Prober, sent_at: &[Instant]| {
        for answer in prober.receive().map_err(cannot)? {
            let number = usize::from(answer.key.wrapping_sub(first_key));
            if number < count {
                let question = number % questions.len();
                is_heard[question] = true;
                heard.push(Heard {
                    question,
                    rtt: answer.at.saturating_duration_since(sent_at[number]),
                    answer,
                });
            }
        }
        let is_over = is_heard.iter().all(|heard| *heard) || is_enough(&heard);
        Ok::<bool, net::Error>(is_over)
    };
    for number in 0..count {
        let Question {
            hop_limit,
            flow,
            octets,
        } = questions[number % questions.len()];
        let probe = Probe {
            key: first_key.wrapping_add(number as u16),
            hop_limit,
            flow,
            octets,
        };
        // One that is too large even for this machine is not answered either.
        match prober.send(probe) {
            Ok(at) => {
                sent_at[number] = at;
                has_sent = true;
            }
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => has_sent = true,
            Err(error) => refused = Some(error),
        }
        // The first answers must not wait: the kernel stamps some only when they are read.
        if take(prober, &sent_at)? {
            return Ok(heard);
        }
    }
    if let Some(error) = refused.filter(|_| !has_sent) {
        return Err(net::Error::System {
            what: "cannot send".to_owned(),
            error,
        });
    }
    let deadline = clock::now() + patience;
    while !take(prober, &sent_at)? && clock::now() < deadline {
        let interest = prober.interest();
        cancel.wait_any(&prober.fds(), interest, Some(deadline))?;
    }
    Ok(heard)
}

/// How long to wait in the next round.
pub(crate) fn patience(heard: &[Heard]) -> Duration {
    let slowest = heard.iter().map(|heard| heard.rtt).max();
    slowest.map_or(PATIENCE_FIRST, |rtt| (rtt * SLOWER).max(PATIENCE_MIN))
}
