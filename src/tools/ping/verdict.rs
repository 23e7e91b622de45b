//! What the figures mean, in one line. Pure.

use std::net::IpAddr;

use super::answer::Strange;
use crate::measure::figure::Percent;
use crate::measure::loss::Losses;
use crate::wire::icmp::{Meaning, Problem};

/// What happened beside the replies.
#[derive(Debug, Clone, Default)]
pub(super) struct Oddities {
    /// The newest ICMP error, and how many there were.
    pub(super) problem: Option<(IpAddr, Problem)>,
    /// Why the system did not send the newest request that it refused.
    pub(super) not_sent: Option<String>,
    pub(super) not_sent_count: u64,
    pub(super) strange: u64,
    pub(super) newest_strange: Option<(IpAddr, Strange)>,
}

/// What a verdict is made from.
pub(super) struct Facts<'a> {
    pub(super) transmitted: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    pub(super) suspended: u64,
    pub(super) losses: &'a Losses,
    /// Milliseconds.
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) oddities: &'a Oddities,
    pub(super) host: &'a str,
    pub(super) is_group: bool,
}

pub(super) const ALL_ANSWERED: &str = "every request was answered";

impl Facts<'_> {
    pub(super) fn verdict(&self) -> String {
        match (self.transmitted, self.received) {
            (_, 1..) if self.is_group => format!(
                "a group: {} more answers came from its other members",
                self.duplicates
            ),
            (_, 0) if self.is_group => "nobody in the group answers".to_owned(),
            (0, _) => "nothing was sent".to_owned(),
            (_, 0) => self.silence(),
            _ if self.losses.lost > 0 => self.loss(),
            _ => self.answered(),
        }
    }

    /// Why nothing came back.
    fn silence(&self) -> String {
        let oddities = self.oddities;
        if let Some((router, problem)) = &oddities.problem {
            return self.refused(*router, problem);
        }
        if let Some(why) = &oddities.not_sent {
            return format!("nothing left this machine: {why}");
        }
        match &oddities.newest_strange {
            Some((from, Strange::DifferentAddress)) => {
                format!("answers came from another address: {from}")
            }
            Some((from, why)) => format!("all that {from} sent was wrong: {why}"),
            None => format!(
                "no answer: {host} is off, or echo is filtered on the way there or back; \
                 'trace {host}' shows how far packets get",
                host = self.host
            ),
        }
    }

    fn refused(&self, router: IpAddr, problem: &Problem) -> String {
        let host = self.host;
        match problem.meaning() {
            Meaning::NoRoute => format!("no route: answered by gateway {router}"),
            Meaning::NoHost => format!("no host: {router} finds nobody with the address {host}"),
            Meaning::Prohibited => format!("filtered: {router} forbids it"),
            Meaning::TooBig { mtu } => format!(
                "too large for the path: {router} passes on {mtu} octets; '--mtu' measures it"
            ),
            Meaning::HopLimit => format!(
                "too far, or a loop: the hop limit ran out at {router}; 'trace {host}' shows where"
            ),
            Meaning::PortUnreachable | Meaning::ProtocolUnreachable | Meaning::Other => {
                format!("refused by {router}: {problem}")
            }
        }
    }

    fn loss(&self) -> String {
        let losses = self.losses;
        let percent = losses.lost as f64 * 100.0 / losses.sent.max(1) as f64;
        let head = format!("loss {}%", Percent((percent * 10.0).round() / 10.0));
        if losses.current == losses.lost && losses.lost > 2 {
            let last = self.transmitted - losses.current;
            return format!("{head}: no answers any more after icmp_seq={last}");
        }
        if losses.leading == losses.lost {
            return match losses.lost {
                1 => {
                    format!("{head}: only the first, which often waits for ARP or a sleeping host")
                }
                first => format!("{head}: only the first {first}, then all were answered"),
            };
        }
        if losses.is_bursty() {
            return format!("{head}, bursts of {:.0}: not random", losses.mean_run());
        }
        if let Some((router, problem)) = &self.oddities.problem {
            return format!("{head}; {}", self.refused(*router, problem));
        }
        if losses.runs == 1 && losses.lost > 2 {
            return format!("{head}: one outage of {} requests", losses.lost);
        }
        format!("{head}, here and there, in {} places", losses.runs)
    }

    fn answered(&self) -> String {
        const VARIES: f64 = 3.0;
        const VARIES_MS_MIN: f64 = 1.0;
        const ANSWERS_MIN: u64 = 5;
        let oddities = self.oddities;
        if let Some((from, why)) = &oddities.newest_strange {
            let (count, verb) = (
                oddities.strange,
                if oddities.strange == 1 { "was" } else { "were" },
            );
            return format!("answered, but {count} more {verb} not counted ({why}, from {from})");
        }
        if self.duplicates > 0 {
            return "answered more than once: two hosts with one address, or a loop on the way"
                .to_owned();
        }
        if self.suspended > 0 {
            return format!("this machine slept through {} requests", self.suspended);
        }
        if self.reordered > 0 {
            return format!("{ALL_ANSWERED}, {} out of order", self.reordered);
        }
        let varies = self.p90 > VARIES * self.p50 && self.p90 - self.p50 > VARIES_MS_MIN;
        if varies && self.received >= ANSWERS_MIN {
            return format!(
                "{ALL_ANSWERED}, but times vary: one in ten takes {:.1} times the usual",
                self.p90 / self.p50
            );
        }
        match self.transmitted - self.suspended - self.losses.sent {
            0 => ALL_ANSWERED.to_owned(),
            1 => format!("{ALL_ANSWERED} but the last, which was on its way"),
            more => format!("{ALL_ANSWERED} but the last {more}, which were on their way"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::wire::icmp::Version;

    /// The verdict over requests that were answered (`.`) or lost (`x`).
    fn verdict(outcomes: &str, change: impl Fn(&mut Oddities)) -> String {
        let start = clock::now();
        let mut losses = Losses::default();
        for (second, outcome) in (0..).zip(outcomes.chars()) {
            losses.settle(start + Duration::from_secs(second), outcome == '.');
        }
        let mut oddities = Oddities::default();
        change(&mut oddities);
        let facts = Facts {
            transmitted: losses.sent,
            received: losses.sent - losses.lost,
            duplicates: 0,
            reordered: 0,
            suspended: 0,
            losses: &losses,
            p50: 10.0,
            p90: 11.0,
            oddities: &oddities,
            host: "10.0.0.9",
            is_group: false,
        };
        facts.verdict()
    }

    fn told(kind: u8, code: u8, info: u32) -> impl Fn(&mut Oddities) {
        move |oddities| {
            let problem = Problem::new(Version::V4, kind, code, info).expect("an error");
            oddities.problem = Some((IpAddr::from([10, 0, 0, 1]), problem));
        }
    }

    #[test]
    fn silence() {
        let plain = verdict("xxx", |_| ());
        assert!(
            plain.starts_with("no answer: 10.0.0.9 is off, or"),
            "{plain}"
        );
        let cases = [
            (told(3, 0, 0), "no route: answered by gateway 10.0.0.1"),
            (
                told(3, 1, 0),
                "no host: 10.0.0.1 finds nobody with the address 10.0.0.9",
            ),
            (told(3, 13, 0), "filtered: 10.0.0.1 forbids it"),
            (
                told(3, 4, 1400),
                "too large for the path: 10.0.0.1 passes on 1400 octets; '--mtu' measures it",
            ),
        ];
        for (change, words) in cases {
            assert_eq!(verdict("xxx", change), words);
        }
        let other = verdict("xx", |oddities| {
            let from = IpAddr::from([10, 0, 0, 7]);
            oddities.newest_strange = Some((from, Strange::DifferentAddress));
        });
        assert_eq!(other, "answers came from another address: 10.0.0.7");
    }

    #[test]
    fn losses() {
        assert_eq!(
            verdict("..xxxx....xxxx......", |_| ()),
            "loss 40%, bursts of 4: not random"
        );
        assert_eq!(
            verdict("x...", |_| ()),
            "loss 25%: only the first, which often waits for ARP or a sleeping host"
        );
        assert_eq!(
            verdict(".....xxxxx", |_| ()),
            "loss 50%: no answers any more after icmp_seq=5"
        );
        assert_eq!(
            verdict(".x......x.", |_| ()),
            "loss 20%, here and there, in 2 places"
        );
        assert_eq!(verdict("....", |_| ()), ALL_ANSWERED);
    }
}
