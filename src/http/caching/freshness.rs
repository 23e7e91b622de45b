//! How long a stored response is fresh, and what it may answer, RFC 9111 section 4.2 and
//! RFC 5861.
//!
//! [`Terms`] are worked out once, when a response is stored; a request then costs a look through
//! its fields. Ages and lifetimes are whole seconds, as they are in the fields.

use std::time::{Duration, SystemTime};

use super::directives::{RequestDirectives, ResponseDirectives};
use super::lifetime::{self, Basis, InitialAge, only_line, since};
use super::{Mode, date};
use crate::http::condition;
use crate::http::head::Fields;

/// What decides about a stored response. `explain` says it in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// With its quotes, and `W/` where it is weak.
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<SystemTime>,
    /// As the origin wrote it, and wants it back.
    pub(crate) last_modified_text: Option<String>,
    pub(super) lifetime: Duration,
    pub(super) basis: Basis,
    pub(super) initial_age: InitialAge,
    pub(super) response_time: SystemTime,
    pub(super) directives: ResponseDirectives,
}

/// How a stored response may answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    Fresh {
        age: Duration,
        left: Duration,
    },
    /// As it is: the request's max-stale allows it.
    StaleAccepted {
        age: Duration,
        past: Duration,
    },
    /// As it is, while a new one is fetched.
    StaleWhileRevalidate {
        age: Duration,
        past: Duration,
    },
    /// Only after validation. `on_error` is for when the origin does not answer, or with a 5xx.
    Stale {
        age: Duration,
        /// How long it has not been fresh.
        past: Duration,
        on_error: bool,
        /// Not even when nobody can be asked (RFC 9111 section 5.2.2.2).
        is_forbidden: bool,
        reason: Reason,
    },
    /// It would need validation, and the request says only-if-cached: 504.
    Unsatisfiable,
}

/// What wants validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("it is stale")]
    Expired,
    #[error("the response says no-cache")]
    NoCache,
    #[error("the request says no-cache")]
    RequestNoCache,
    #[error("the request's max-age wants a newer one")]
    RequestMaxAge,
    #[error("it will not be fresh for as long as the request's min-fresh")]
    RequestMinFresh,
}

impl Terms {
    /// Of a response whose request was sent at `request_time`.
    pub(crate) fn new(
        status: u16,
        response: &Fields,
        request_time: SystemTime,
        response_time: SystemTime,
        mode: Mode,
    ) -> Terms {
        let directives = ResponseDirectives::parse(response, mode);
        let last_modified_text = last_modified(response);
        let last_modified = last_modified_text.and_then(|text| date::parse(text.as_bytes()));
        // RFC 9110 section 6.6.1: without a usable Date, that is when it was received.
        let date = only_line(response, "date").and_then(date::parse);
        let date = date.unwrap_or(response_time);
        let modified = last_modified
            .filter(|_| lifetime::is_heuristically_cacheable(status, &directives))
            .map(|modified| since(modified, date));
        let (lifetime, basis) = lifetime::lifetime(response, &directives, date, modified);
        Terms {
            etag: etag(response).map(str::to_owned),
            last_modified,
            last_modified_text: last_modified_text.map(str::to_owned),
            lifetime,
            basis,
            initial_age: InitialAge {
                age_value: lifetime::age_value(response),
                response_delay: since(request_time, response_time),
                apparent_age: since(date, response_time),
            },
            response_time,
            directives,
        }
    }

    pub(crate) fn reuse(&self, request: &Fields, now: SystemTime) -> Reuse {
        let asked = RequestDirectives::parse(request);
        match self.judge(&asked, self.age(now)) {
            Reuse::Stale { .. } if asked.only_if_cached => Reuse::Unsatisfiable,
            reuse => reuse,
        }
    }

    /// What makes a request conditional, so that a 304 can answer it.
    pub(crate) fn conditions(&self) -> Vec<(&'static str, String)> {
        let etag = self.etag.clone().map(|etag| ("If-None-Match", etag));
        let since = self.last_modified_text.clone();
        let since = since.map(|text| ("If-Modified-Since", text));
        etag.into_iter().chain(since).collect()
    }

    pub(super) fn age(&self, now: SystemTime) -> Duration {
        let age = self.initial_age.corrected() + since(self.response_time, now);
        Duration::from_secs(age.as_secs())
    }

    fn judge(&self, asked: &RequestDirectives, age: Duration) -> Reuse {
        let left = self.lifetime.saturating_sub(age);
        let past = age.saturating_sub(self.lifetime);
        let is_fresh = !left.is_zero();
        let stale = |reason, on_error| Reuse::Stale {
            age,
            past,
            on_error,
            is_forbidden: self.directives.no_cache || self.directives.forbid_stale(),
            reason,
        };
        let within = |span: Option<Duration>| span.is_some_and(|span| past < span);
        let may_be_stale = is_fresh || !self.directives.forbid_stale();
        if self.directives.no_cache {
            return stale(Reason::NoCache, false);
        }
        if let Some(reason) = asked.wants_newer(age, left) {
            return stale(reason, may_be_stale && within(asked.stale_if_error));
        }
        if is_fresh {
            return Reuse::Fresh { age, left };
        }
        if !may_be_stale {
            return stale(Reason::Expired, false);
        }
        // RFC 9111 section 5.2.1.1: who asks for a max-age wants nothing stale.
        let is_accepted = asked.max_age.is_none() || asked.max_stale.is_some();
        if is_accepted && within(self.directives.stale_while_revalidate) {
            return Reuse::StaleWhileRevalidate { age, past };
        }
        if within(asked.max_stale) {
            return Reuse::StaleAccepted { age, past };
        }
        // Without a limit, RFC 9111 section 4.2.4 allows it while the origin cannot be reached.
        let limits = [self.directives.stale_if_error, asked.stale_if_error];
        let on_error = match limits {
            [None, None] => is_accepted,
            limits => limits.into_iter().any(within),
        };
        stale(Reason::Expired, on_error)
    }
}

impl RequestDirectives {
    fn wants_newer(&self, age: Duration, left: Duration) -> Option<Reason> {
        if self.no_cache {
            return Some(Reason::RequestNoCache);
        }
        // max-age=0 is how browsers reload, even within the second.
        if self.max_age.is_some_and(|max| age > max || max.is_zero()) {
            return Some(Reason::RequestMaxAge);
        }
        let is_short = self.min_fresh.is_some_and(|min| left < min);
        is_short.then_some(Reason::RequestMinFresh)
    }
}

pub(super) fn has_validator(response: &Fields) -> bool {
    etag(response).is_some() || last_modified(response).is_some()
}

pub(super) fn etag<'a>(response: &Fields<'a>) -> Option<&'a str> {
    let line = only_line(response, "etag")?;
    let is_valid = condition::is_entity_tag(line);
    is_valid.then(|| str::from_utf8(line).ok()).flatten()
}

pub(super) fn last_modified<'a>(response: &Fields<'a>) -> Option<&'a str> {
    let line = only_line(response, "last-modified")?;
    date::parse(line)?;
    str::from_utf8(line).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::super::fields;
    use super::*;

    /// Seconds after the response.
    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
    }

    fn terms(status: u16, lines: &[(&str, &str)]) -> Terms {
        Terms::new(status, &fields(lines), at(0), at(0), Mode::default())
    }

    /// Of a response of this age with this Cache-Control, for a request with that one.
    fn reuse(response: &str, age: u64, request: &str) -> Reuse {
        let request = fields(&[("Cache-Control", request)]);
        terms(200, &[("Cache-Control", response)]).reuse(&request, at(age))
    }

    /// It may be used without asking first.
    #[track_caller]
    fn check_used(response: &str, age: u64, request: &str, how: &str) {
        let used = match reuse(response, age, request) {
            Reuse::Fresh { left, .. } => format!("fresh {}", left.as_secs()),
            Reuse::StaleAccepted { past, .. } => format!("accepted {}", past.as_secs()),
            Reuse::StaleWhileRevalidate { past, .. } => format!("revalidate {}", past.as_secs()),
            Reuse::Stale { .. } => "no".to_owned(),
            Reuse::Unsatisfiable => "504".to_owned(),
        };
        assert_eq!(used, how, "{response}; {request}");
    }

    #[test]
    fn what_is_used_without_asking() {
        check_used("max-age=60", 0, "", "fresh 60");
        check_used("max-age=60", 59, "no-store", "fresh 1");
        check_used("max-age=60", 60, "", "no");
        check_used("max-age=60, must-revalidate", 59, "", "fresh 1");
        check_used("max-age=60", 10, "max-age=10, min-fresh=50", "fresh 50");
        check_used("max-age=60", 69, "max-stale=10", "accepted 9");
        check_used("max-age=60", 70, "max-stale=10", "no");
        check_used(
            "max-age=60",
            7000,
            "max-stale, max-age=8000",
            "accepted 6940",
        );
        check_used("max-age=60, must-revalidate", 61, "max-stale", "no");
        let swr = "max-age=60, stale-while-revalidate=10";
        check_used(swr, 69, "", "revalidate 9");
        check_used(swr, 69, "only-if-cached", "revalidate 9");
        check_used(swr, 70, "", "no");
        check_used(swr, 69, "max-age=100", "no");
        check_used("s-maxage=60, stale-while-revalidate=10", 61, "", "no");
        check_used("max-age=60", 60, "only-if-cached", "504");
        check_used("max-age=60", 59, "only-if-cached", "fresh 1");
        check_used("max-age=60", 1, "only-if-cached, no-cache", "504");
    }

    /// Why it is validated, and whether it may be used when that fails.
    #[track_caller]
    fn check_stale(response: &str, age: u64, request: &str, expected: (Reason, bool)) {
        match reuse(response, age, request) {
            Reuse::Stale {
                reason, on_error, ..
            } => {
                assert_eq!((reason, on_error), expected, "{response}; {request}");
            }
            other => panic!("{response}; {request}: {other:?}"),
        }
    }

    #[test]
    fn what_is_validated_first() {
        use Reason::{Expired, NoCache, RequestMaxAge, RequestMinFresh, RequestNoCache};
        check_stale("max-age=60", 61, "", (Expired, true));
        check_stale("", 0, "", (Expired, true));
        for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
            let response = format!("max-age=60, {forbids}, stale-if-error=600");
            check_stale(&response, 61, "stale-if-error=600", (Expired, false));
        }
        check_stale("max-age=60, no-cache", 1, "", (NoCache, false));
        check_stale("max-age=60, stale-if-error=10", 69, "", (Expired, true));
        check_stale("max-age=60, stale-if-error=10", 70, "", (Expired, false));
        let request = "stale-if-error=20";
        check_stale(
            "max-age=60, stale-if-error=10",
            70,
            request,
            (Expired, true),
        );
        check_stale("max-age=60", 1, "no-cache", (RequestNoCache, false));
        check_stale("max-age=60", 0, "max-age=0", (RequestMaxAge, false));
        check_stale("max-age=60", 11, "max-age=10", (RequestMaxAge, false));
        check_stale("max-age=60", 11, "min-fresh=50", (RequestMinFresh, false));
        check_stale("max-age=60", 11, "min-fresh=x", (RequestMinFresh, false));
        let request = "max-age=10, stale-if-error=5";
        check_stale(
            "max-age=60, must-revalidate",
            11,
            request,
            (RequestMaxAge, true),
        );
        let pragma = fields(&[("Pragma", "no-cache")]);
        let reuse = terms(200, &[("Cache-Control", "max-age=60")]).reuse(&pragma, at(1));
        assert!(matches!(
            reuse,
            Reuse::Stale {
                reason: RequestNoCache,
                ..
            }
        ));
    }

    #[test]
    fn validators() {
        let lines = [
            ("ETag", "W/\"a\""),
            ("Last-Modified", "sun Nov  6 07:49:37 1994"),
        ];
        let both = terms(200, &lines);
        let expected = [
            ("If-None-Match", "W/\"a\""),
            ("If-Modified-Since", lines[1].1),
        ];
        assert_eq!(
            both.conditions(),
            expected.map(|(name, text)| (name, text.to_owned()))
        );
        for invalid in ["a", "*", "\"a\", \"b\"", "\"a"] {
            let terms = terms(200, &[("ETag", invalid), ("Last-Modified", "0")]);
            assert!(terms.conditions().is_empty(), "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_never_fresh_for_longer_than_said(
            max_age in 0_u64..100,
            age in 0_u64..100,
            here in 0_u64..100,
            request in "((max-age|min-fresh|max-stale|stale-if-error)(=[0-9]{1,3})?,){0,4}",
        ) {
            let lines = [
                ("Cache-Control", &*format!("max-age={max_age}")),
                ("Age", &*age.to_string()),
            ];
            let reuse = terms(200, &lines).reuse(&fields(&[("Cache-Control", &request)]), at(here));
            if let Reuse::Fresh { age: now, left } = reuse {
                prop_assert_eq!(now.as_secs(), age + here);
                prop_assert_eq!((now + left).as_secs(), max_age);
            }
        }
    }
}
