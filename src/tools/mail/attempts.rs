//! Attempts to deliver, until nothing is left that could go better with another one, and what is
//! kept of letters that nobody has got.

use super::arguments::Arguments;
use super::dialogue::outcome::{Fate, exit_status};
use super::drafts;
use super::letter::Letter;
use super::report::Event;
use crate::clock;
use crate::tool::{Context, Error, Status};
use crate::wire::smtp::Address;

/// What became of each letter for each of its recipients.
pub(super) type Fates = Vec<Vec<(Address, Fate)>>;

/// Attempts, until nothing is left that could go better with another one, or there were enough.
pub(super) fn deliver(
    context: &Context,
    arguments: &Arguments,
    letters: Vec<Letter>,
    mut attempt: impl FnMut(&[Letter]) -> Result<Fates, Error>,
) -> Result<Status, Error> {
    let (mut open, mut settled) = (letters, Vec::new());
    let mut typed = Typed::default();
    for attempts in 1.. {
        let fates = match attempt(&open) {
            Ok(fates) => fates,
            Err(error) => {
                typed.keep(context, arguments, open);
                return Err(error);
            }
        };
        let may_try_again = attempts <= arguments.retry && !context.cancel.is_cancelled();
        let mut again = Vec::new();
        for (letter, fates) in open.into_iter().zip(fates) {
            let (later, done): (Vec<_>, Vec<_>) = fates
                .into_iter()
                .partition(|(_, fate)| may_try_again && fate.is_temporary());
            typed.add(letter.for_those(&done, |fate| matches!(fate, Fate::Refused(_))));
            again.push(letter.for_those(&later, |_| true));
            settled.extend(done);
        }
        again.retain(|letter| !letter.recipients.is_empty());
        if context.cancel.is_cancelled() {
            typed.keep(context, arguments, again);
            return Err(Error::Cancelled);
        }
        if again.is_empty() {
            typed.keep(context, arguments, again);
            if attempts > 1 {
                context.out.emit(&Event::in_all(attempts, &settled));
            }
            break;
        }
        let wait = arguments.retry_after;
        context.out.emit(&Event::Again {
            recipients: again.iter().map(|letter| letter.recipients.len()).sum(),
            seconds: wait.as_secs_f64(),
        });
        if context.cancel.sleep_until(clock::now() + wait).is_err() {
            typed.keep(context, arguments, again);
            return Err(Error::Cancelled);
        }
        open = again;
    }
    Ok(Status(exit_status(settled.iter())))
}

/// Letters whose text is nowhere else, with those who have not got them.
#[derive(Default)]
struct Typed(Vec<Letter>);

impl Typed {
    fn add(&mut self, letter: Letter) {
        if !letter.is_typed || letter.recipients.is_empty() {
            return;
        }
        let known = self.0.iter_mut();
        match known
            .into_iter()
            .find(|known| known.message_id == letter.message_id)
        {
            Some(known) => known.recipients.extend(letter.recipients),
            None => self.0.push(letter),
        }
    }

    fn keep(mut self, context: &Context, arguments: &Arguments, open: Vec<Letter>) {
        for letter in open {
            self.add(letter);
        }
        for letter in &self.0 {
            drafts::keep(context, arguments, letter, false);
        }
    }
}

/// At once: it is the one end that must not be forgotten.
pub(super) fn keep_unknown(
    context: &Context,
    arguments: &Arguments,
    letter: &Letter,
    fates: &[(Address, Fate)],
) {
    let unknown = letter.for_those(fates, |fate| matches!(fate, Fate::Unknown(_)));
    if !unknown.recipients.is_empty() {
        drafts::keep(context, arguments, &unknown, true);
    }
}
