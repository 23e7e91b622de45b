//! Why a stored response is used or not, in sentences.

use std::time::{Duration, SystemTime};

use super::freshness::{Reuse, Terms};
use super::lifetime::Basis;
use crate::http::head::Fields;

/// Shorter spans are plain seconds.
const SECONDS_MAX: u64 = 120;

impl Terms {
    /// Its age, its lifetime, and what follows for this request.
    pub(crate) fn explain(&self, request: &Fields, now: SystemTime) -> Vec<String> {
        let reuse = self.reuse(request, now);
        let mut lines = vec![self.explain_age(now), self.explain_lifetime()];
        lines.extend(self.explain_reuse(reuse, self.age(now)));
        lines
    }

    /// Whole seconds that add up, as they would in an Age field on the way.
    fn explain_age(&self, now: SystemTime) -> String {
        let initial = &self.initial_age;
        let age = self.age(now);
        let corrected = Duration::from_secs(initial.corrected().as_secs());
        let mut parts = Vec::new();
        if initial.apparent_age > initial.age_value + initial.response_delay {
            parts.push((corrected, "since its Date"));
        } else {
            let delay = corrected.saturating_sub(initial.age_value);
            parts.push((initial.age_value, "Age field"));
            parts.push((delay, "on the way"));
        }
        parts.push((age.saturating_sub(corrected), "here"));
        parts.retain(|(span, _)| !span.is_zero());
        let parts: Vec<_> = parts
            .iter()
            .map(|(span, what)| format!("{} ({what})", seconds(*span)))
            .collect();
        match parts.is_empty() {
            true => format!("age {}", seconds(age)),
            false => format!("age {} = {}", seconds(age), parts.join(" + ")),
        }
    }

    fn explain_lifetime(&self) -> String {
        let by = match self.basis {
            Basis::SMaxage => "s-maxage",
            Basis::MaxAge => "max-age (s-maxage absent)",
            Basis::Expires => "Expires (no max-age)",
            Basis::InvalidExpires => {
                return "never fresh: its Expires is not one date".to_owned();
            }
            Basis::LastModified => "a tenth of its time since Last-Modified, a day at most",
            Basis::Nothing => return "never fresh: nothing says for how long".to_owned(),
        };
        let is_directive = matches!(self.basis, Basis::SMaxage | Basis::MaxAge);
        let field = match is_directive && self.directives.targeted {
            true => "CDN-Cache-Control's ",
            false => "",
        };
        format!("fresh for {} by {field}{by}", seconds(self.lifetime))
    }

    fn explain_reuse(&self, reuse: Reuse, age: Duration) -> Vec<String> {
        let stale_for = |past| format!("stale for {}", seconds(past));
        match reuse {
            Reuse::Fresh { left, .. } => {
                vec![format!("so it is fresh for {} more", seconds(left))]
            }
            Reuse::StaleAccepted { past, .. } => {
                vec![format!(
                    "{}, which the request's max-stale accepts",
                    stale_for(past)
                )]
            }
            Reuse::StaleWhileRevalidate { past, .. } => vec![format!(
                "{}: stale-while-revalidate serves it while a new one is fetched",
                stale_for(past)
            )],
            Reuse::Stale {
                past,
                on_error,
                reason,
                ..
            } => {
                let mut lines = Vec::new();
                if self.lifetime <= age {
                    lines.push(stale_for(past));
                }
                lines.push(format!("so the origin is asked first: {reason}"));
                lines.push(match on_error {
                    true => "if the origin fails, it is served all the same".to_owned(),
                    false => self.explain_refusal(self.lifetime <= age),
                });
                lines
            }
            Reuse::Unsatisfiable => {
                vec!["it needs the origin, but the request says only-if-cached: 504".to_owned()]
            }
        }
    }

    fn explain_refusal(&self, is_stale: bool) -> String {
        let directives = &self.directives;
        let why = if directives.no_cache {
            "the response says no-cache"
        } else if is_stale && directives.must_revalidate {
            "the response says must-revalidate"
        } else if is_stale && directives.proxy_revalidate {
            "the response says proxy-revalidate"
        } else if is_stale && directives.s_maxage.is_some() {
            "the response says s-maxage, which forbids it"
        } else {
            "neither the request nor a stale-if-error allows it"
        };
        format!("if the origin fails, it is not served: {why}")
    }
}

/// To the second: `90 s`, `5 m 20 s`, `1 d`.
fn seconds(span: Duration) -> String {
    let total = span.as_secs();
    if total < SECONDS_MAX {
        return format!("{total} s");
    }
    let units = [
        (total / 86400, 'd'),
        (total / 3600 % 24, 'h'),
        (total / 60 % 60, 'm'),
        (total % 60, 's'),
    ];
    let parts: Vec<_> = units
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::{Mode, fields};
    use super::*;

    /// Asked for at 08:49:37, and looked at `now` seconds later.
    #[track_caller]
    fn check(response: &[(&str, &str)], now: u64, request: &str, expected: &[&str]) {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds);
        let mode = Mode { cdn: true };
        let terms = Terms::new(200, &fields(response), at(0), at(1), mode);
        let request = fields(&[("Cache-Control", request)]);
        assert_eq!(terms.explain(&request, at(now)), expected);
    }

    #[test]
    fn the_whole_story() {
        let max_age = ("Cache-Control", "max-age=60");
        check(
            &[max_age, ("Age", "10")],
            13,
            "",
            &[
                "age 23 s = 10 s (Age field) + 1 s (on the way) + 12 s (here)",
                "fresh for 60 s by max-age (s-maxage absent)",
                "so it is fresh for 37 s more",
            ],
        );
        check(
            &[max_age, ("Date", "Sun, 06 Nov 1994 07:49:37 GMT")],
            1,
            "",
            &[
                "age 1 h 1 s = 1 h 1 s (since its Date)",
                "fresh for 60 s by max-age (s-maxage absent)",
                "stale for 59 m 1 s",
                "so the origin is asked first: it is stale",
                "if the origin fails, it is served all the same",
            ],
        );
        check(
            &[("CDN-Cache-Control", "s-maxage=1"), max_age],
            1,
            "",
            &[
                "age 1 s = 1 s (on the way)",
                "fresh for 1 s by CDN-Cache-Control's s-maxage",
                "stale for 0 s",
                "so the origin is asked first: it is stale",
                "if the origin fails, it is not served: the response says s-maxage, which forbids it",
            ],
        );
        check(
            &[max_age, ("Cache-Control", "must-revalidate")],
            2,
            "no-cache",
            &[
                "age 2 s = 1 s (on the way) + 1 s (here)",
                "fresh for 60 s by max-age (s-maxage absent)",
                "so the origin is asked first: the request says no-cache",
                "if the origin fails, it is not served: neither the request nor a stale-if-error \
                 allows it",
            ],
        );
        check(
            &[("Last-Modified", "Sun, 06 Nov 1994 07:49:38 GMT")],
            362,
            "only-if-cached",
            &[
                "age 6 m 2 s = 1 s (on the way) + 6 m 1 s (here)",
                "fresh for 6 m by a tenth of its time since Last-Modified, a day at most",
                "it needs the origin, but the request says only-if-cached: 504",
            ],
        );
    }
}
