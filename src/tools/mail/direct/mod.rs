//! `mail --mx`: straight to the mail exchangers of the recipients' domains, RFC 5321 section 5.1.

pub(super) mod attempt;
pub(super) mod directory;
pub(super) mod event;
pub(super) mod refusal;
mod tour;

use std::time::Duration;

use self::attempt::{Errand, Target};
use self::directory::{Directory, Host};
use self::event::Event;
use self::refusal::lacks_tls;
use self::tour::Tour;
use super::arguments::Arguments;
use super::attempts::{deliver, keep_unknown};
use super::courier::Recorder;
use super::dane::Policy;
use super::destination::Destination;
use super::dialogue::outcome::{Fate, Outcome, Refusal};
use super::dialogue::plan::{Job, Message};
use super::dialogue::transcript::Line;
use super::exchangers;
use super::letter::Letter;
use super::outbox::tell;
use super::recorder::recorder;
use super::report;
use crate::clock;
use crate::tool::{Context, Error, Status};
use crate::wire::smtp::Address;

/// The recipients of a domain.
struct Group {
    destination: Destination,
    /// As it was first written.
    domain: String,
    recipients: Vec<Address>,
}

struct Delivery<'a> {
    errand: &'a Errand<'a>,
    directory: &'a Directory<'a>,
    letter: &'a Letter,
    message: Message,
}

/// What can be wrong with the options is told here, before anybody has typed a letter.
pub(super) struct Mailer<'a, R> {
    errand: Errand<'a>,
    directory: Directory<'a>,
    record: R,
}

pub(super) fn open<'a>(
    context: &'a Context,
    arguments: &'a Arguments,
    timeout: Duration,
) -> Result<Mailer<'a, impl FnMut(&Line, Duration) + use<>>, Error> {
    Ok(Mailer {
        errand: Errand {
            context,
            arguments,
            tls: arguments.tls_options("")?,
            timeout,
            stop_after: arguments.stop_after.map(Into::into),
            is_quiet: arguments.quiet,
            is_stepwise: false,
        },
        directory: Directory::open(context, arguments, timeout)?,
        record: recorder(context, arguments.transcript.as_deref())?,
    })
}

impl<R: FnMut(&Line, Duration)> Mailer<'_, R> {
    pub(super) fn send(mut self, letters: Vec<Letter>) -> Result<Status, Error> {
        let Errand {
            context, arguments, ..
        } = self.errand;
        deliver(context, arguments, letters, |letters| {
            // Before the first of them is sent.
            let groups = letters.iter().map(|letter| group(&letter.recipients));
            let groups: Vec<Vec<Group>> = groups.collect::<Result<_, _>>()?;
            let mut all = Vec::new();
            for (letter, groups) in letters.iter().zip(groups) {
                let delivery = Delivery {
                    errand: &self.errand,
                    directory: &self.directory,
                    letter,
                    message: Message::new(&letter.octets),
                };
                let mut fates = Vec::new();
                for group in &groups {
                    fates.extend(delivery.deliver(group, &mut self.record)?);
                }
                keep_unknown(context, arguments, letter, &fates);
                all.push(fates);
            }
            Ok(all)
        })
    }
}

/// By domain, in the order of the first recipient of each.
fn group(recipients: &[Address]) -> Result<Vec<Group>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    for recipient in recipients {
        let domain = recipient.domain();
        let destination = Destination::parse(domain)
            .map_err(|error| Error::Usage(format!("'{recipient}': {error}")))?;
        let known = groups
            .iter()
            .position(|group| group.destination == destination);
        match known {
            Some(known) => groups[known].recipients.push(recipient.clone()),
            None => groups.push(Group {
                destination,
                domain: domain.to_owned(),
                recipients: vec![recipient.clone()],
            }),
        }
    }
    Ok(groups)
}

impl Delivery<'_> {
    fn deliver(
        &self,
        group: &Group,
        record: &mut Recorder<'_>,
    ) -> Result<Vec<(Address, Fate)>, Error> {
        let mut tour = Tour::new(&group.recipients);
        match self.visit_all(group, &mut tour, record) {
            // Whoever is open is told so.
            Ok(()) | Err(Error::Cancelled) => {}
            Err(error) => return Err(error),
        }
        let (settled, given_up) = tour.end();
        for (address, fate) in &given_up {
            let event = report::Event::recipient(address, fate);
            self.errand.context.out.emit(&event);
        }
        Ok([settled, given_up].concat())
    }

    fn visit_all(
        &self,
        group: &Group,
        tour: &mut Tour,
        record: &mut Recorder<'_>,
    ) -> Result<(), Error> {
        let domain = match &group.destination {
            Destination::Domain(domain) => domain,
            Destination::AddressLiteral(address) => {
                let host = self.directory.literal(*address);
                return self.visit_host(tour, &address.to_string(), &host, record);
            }
        };
        let plan = match self.directory.exchangers(domain)? {
            Ok(plan) => plan,
            Err(error) => {
                tour.refuse(&Refusal::nowhere(error));
                return Ok(());
            }
        };
        self.errand.tell(&Event::exchangers(&group.domain, &plan));
        let mut errors = Vec::new();
        let mut visited = 0;
        for exchanger in &plan.list {
            if tour.has_ended() {
                break;
            }
            visited += 1;
            let name = exchanger.name.to_string();
            match self.directory.host(domain, &plan, exchanger)? {
                Ok(host) => {
                    if let Some(note) = &host.note {
                        self.errand.tell(&Event::noted(&group.domain, note));
                    }
                    self.visit_host(tour, &name, &host, record)?;
                }
                Err(error) => {
                    tour.attempts += 1;
                    let refusal = Refusal::nowhere(error.clone());
                    self.errand
                        .tell(&Event::passed(&name, None, None, &refusal));
                    errors.push(error);
                }
            }
        }
        tour.untried.exchangers = plan.list.len() - visited + plan.left_out;
        if tour.is_unrefused() {
            let error = exchangers::Error::of_all(domain, errors);
            tour.refuse(&Refusal::nowhere(error));
        }
        Ok(())
    }

    fn visit_host(
        &self,
        tour: &mut Tour,
        exchanger: &str,
        host: &Host,
        record: &mut Recorder<'_>,
    ) -> Result<(), Error> {
        if let Policy::Unknown(failure) = host.policy {
            tour.attempts += 1;
            let refusal = Refusal::unprotected(failure);
            self.errand
                .tell(&Event::passed(exchanger, None, None, &refusal));
            tour.refuse(&refusal);
            return Ok(());
        }
        self.errand
            .tell(&Event::protection(exchanger, &host.policy));
        let mut visited = 0;
        for address in &host.addresses {
            if tour.has_ended() {
                break;
            }
            visited += 1;
            tour.attempts += 1;
            let target = Target {
                exchanger,
                address: *address,
                host,
            };
            self.visit(tour, &target, record)?;
        }
        tour.untried.addresses += host.addresses.len() - visited + host.left_out;
        Ok(())
    }

    fn visit(
        &self,
        tour: &mut Tour,
        target: &Target,
        record: &mut Recorder<'_>,
    ) -> Result<(), Error> {
        let started = clock::now();
        let job = || Job {
            from: Some(self.letter.from.clone()),
            recipients: tour.recipients(),
            message: self.message.clone(),
            dsn: self.errand.arguments.dsn(),
        };
        let attempt = self.errand.attempt(target, job, record)?;
        let lacks_tls =
            |outcome: &Outcome| lacks_tls(outcome, attempt.doubt.as_deref(), &target.host.policy);
        let result = match attempt.result.map_err(Refusal::unreachable) {
            Ok(outcome) => lacks_tls(&outcome).map_or(Ok(outcome), Err),
            Err(refusal) => Err(refusal),
        };
        let mut outcome = match result {
            Ok(outcome) => outcome,
            Err(refusal) => {
                self.pass(target, None, &refusal);
                tour.refuse(&refusal);
                return Ok(());
            }
        };
        let put_off = tour.sort(&mut outcome);
        let is_settled = outcome.messages.iter().flatten().next().is_some();
        let is_same = put_off.windows(2).all(|pair| pair[0].1 == pair[1].1);
        match put_off.first() {
            Some((_, refusal)) if is_same && !is_settled => self.pass(target, None, refusal),
            Some(_) | None => {
                for (recipient, refusal) in &put_off {
                    self.pass(target, Some(recipient), refusal);
                }
            }
        }
        if !is_settled {
            return Ok(());
        }
        let (exchanger, address) = (target.exchanger, target.address);
        let server = format!("{exchanger} [{}]:{}", address.ip(), address.port());
        let took = clock::now() - started;
        let letter = std::slice::from_ref(self.letter);
        tell(self.errand.context, letter, &outcome, 0, server, took);
        Ok(())
    }

    fn pass(&self, target: &Target, recipient: Option<&Address>, refusal: &Refusal) {
        let address = Some(target.address.to_string());
        let event = Event::passed(target.exchanger, address, recipient, refusal);
        self.errand.tell(&event);
    }
}
