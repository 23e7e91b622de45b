//! Why an address or an exchanger has not taken a message.

use super::super::courier::Failure;
use super::super::dane::Policy;
use super::super::dialogue::outcome::{Fate, Outcome, Reason, Refusal, Stage};
use super::super::exchangers;
use crate::net::dns::outcome;

/// RFC 7672 section 2.2: delivery is put off then.
pub(crate) fn lacks_tls(
    outcome: &Outcome,
    doubt: Option<&str>,
    policy: &Policy,
) -> Option<Refusal> {
    let (_, fate) = outcome.messages.iter().flatten().next()?;
    let Fate::Refused(refusal) = fate else {
        return None;
    };
    let is_it = refusal.stage == Stage::Tls || refusal.reason == Reason::StartTlsNotOffered;
    (is_it && !matches!(policy, Policy::None)).then(|| Refusal {
        stage: refusal.stage,
        is_temporary: true,
        reason: match (doubt, &refusal.reason) {
            (Some(doubt), Reason::Tls) => Reason::Unreachable(doubt.to_owned()),
            (_, Reason::StartTlsNotOffered) => Reason::Unreachable(
                "DANE: DNS demands TLS, and the server does not offer STARTTLS".to_owned(),
            ),
            (_, reason) => reason.clone(),
        },
    })
}

impl Refusal {
    pub(crate) fn nowhere(error: exchangers::Error) -> Refusal {
        Refusal {
            stage: Stage::Dns,
            is_temporary: !error.is_permanent(),
            reason: Reason::Nowhere(error),
        }
    }

    pub(crate) fn unprotected(failure: outcome::Failure) -> Refusal {
        Refusal {
            stage: Stage::Dns,
            is_temporary: true,
            reason: Reason::Unreachable(format!("cannot look up whether TLS is wanted: {failure}")),
        }
    }

    pub(crate) fn unreachable(failure: Failure) -> Refusal {
        let Failure {
            stage,
            is_temporary,
            reason,
        } = failure;
        Refusal {
            stage,
            is_temporary,
            reason: Reason::Unreachable(reason),
        }
    }
}
