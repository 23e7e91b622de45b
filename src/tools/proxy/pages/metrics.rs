//! The proxy's figures in the OpenMetrics text format, 1.0.

use std::fmt::{Display, Write};
use std::time::Duration;

/// For `Content-Type`.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Since the start, unless it says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counters {
    pub(crate) uptime: Duration,
    pub(crate) connections_accepted: u64,
    /// Now.
    pub(crate) connections_open: u64,
    /// Because there were too many.
    pub(crate) connections_refused: u64,
    pub(crate) tunnels_opened: u64,
    /// Now.
    pub(crate) tunnels_open: u64,
    /// Requests by what the cache did: `hit`, `miss`, `validated`.
    pub(crate) results: Vec<(&'static str, u64)>,
    /// By the first digit of their status.
    pub(crate) responses: [u64; 5],
    pub(crate) octets_to_clients: u64,
    pub(crate) octets_from_origins: u64,
    /// Sent to clients and not fetched from origins.
    pub(crate) octets_saved: u64,
    pub(crate) origin_connections_opened: u64,
    /// Requests that went over a connection that was already there.
    pub(crate) origin_connections_reused: u64,
    /// Now.
    pub(crate) origin_connections_idle: u64,
    /// By their name in RFC 9209: `dns_timeout`.
    pub(crate) errors: Vec<(&'static str, u64)>,
    /// Now, as the two that follow.
    pub(crate) cache_entries: u64,
    pub(crate) cache_octets: u64,
    pub(crate) cache_octets_max: u64,
    pub(crate) request_seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    /// The longest time that belongs to each bucket in seconds, ascending, and how many requests
    /// do that belong to none before it.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// How many took longer than all of these.
    pub(crate) longer: u64,
    pub(crate) sum: Duration,
}

impl Counters {
    pub(crate) fn open_metrics(&self) -> String {
        let mut text = Text(String::new());
        text.gauge("uptime_seconds", "Since the start.", self.uptime.as_secs());
        self.connections(&mut text);
        self.requests(&mut text);
        self.origins(&mut text);
        text.gauge("cache_entries", "Stored responses.", self.cache_entries);
        text.gauge("cache_octets", "Octets of them.", self.cache_octets);
        let help = "Octets that may be stored.";
        text.gauge("cache_octets_max", help, self.cache_octets_max);
        let help = "From a request's head to its answer's end.";
        text.histogram("request_seconds", help, &self.request_seconds);
        text.0 + "# EOF\n"
    }

    fn connections(&self, text: &mut Text) {
        let accepted = self.connections_accepted;
        text.counter("connections", "Accepted connections.", accepted);
        text.gauge(
            "open_connections",
            "Connections now.",
            self.connections_open,
        );
        let help = "Connections refused because there were too many.";
        text.counter("refused_connections", help, self.connections_refused);
        text.counter("tunnels", "Tunnels (CONNECT).", self.tunnels_opened);
        text.gauge("open_tunnels", "Tunnels now.", self.tunnels_open);
    }

    fn requests(&self, text: &mut Text) {
        let help = "Requests by what the cache did.";
        text.counters("requests", help, "result", &self.results);
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let classes: Vec<_> = classes.into_iter().zip(self.responses).collect();
        text.counters("responses", "Answers by status.", "class", &classes);
        let help = "Octets sent to clients.";
        text.counter("client_octets", help, self.octets_to_clients);
        let help = "Octets that came from the cache instead of an origin.";
        text.counter("saved_octets", help, self.octets_saved);
    }

    fn origins(&self, text: &mut Text) {
        let help = "Octets received from origins.";
        text.counter("origin_octets", help, self.octets_from_origins);
        let opened = self.origin_connections_opened;
        text.counter("origin_connections", "Connections to origins.", opened);
        let help = "Requests over a connection that was already there.";
        text.counter(
            "reused_origin_connections",
            help,
            self.origin_connections_reused,
        );
        let help = "Connections to origins that wait for a request.";
        text.gauge(
            "idle_origin_connections",
            help,
            self.origin_connections_idle,
        );
        let help = "Errors by their name in RFC 9209.";
        text.counters("errors", help, "error", &self.errors);
    }
}

struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, "_total", value);
    }

    /// The values of the label are words, so that nothing in them needs a backslash.
    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&'static str, u64)]) {
        self.family(name, "counter", help);
        for (word, value) in values {
            self.sample(name, &format!("_total{{{label}=\"{word}\"}}"), value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let mut count = 0;
        for (bound, more) in &histogram.buckets {
            count += more;
            // A float is told by its point, `1.0`, also where it is a whole number.
            self.sample(name, &format!("_bucket{{le=\"{bound:?}\"}}"), count);
        }
        count += histogram.longer;
        self.sample(name, "_bucket{le=\"+Inf\"}", count);
        self.sample(name, "_count", count);
        self.sample(name, "_sum", histogram.sum.as_secs_f64());
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let name = format!("nsh_proxy_{name}");
        let _ = writeln!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, suffix: &str, value: impl Display) {
        let _ = writeln!(self.0, "nsh_proxy_{name}{suffix} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_figures() {
        let counters = Counters {
            uptime: Duration::from_millis(61_900),
            connections_accepted: 1,
            connections_open: 2,
            connections_refused: 3,
            tunnels_opened: 4,
            tunnels_open: 5,
            results: vec![("hit", 6), ("miss", 7)],
            responses: [8, 9, 10, 11, 12],
            octets_to_clients: 13,
            octets_from_origins: 14,
            octets_saved: 15,
            origin_connections_opened: 16,
            origin_connections_reused: 17,
            origin_connections_idle: 18,
            errors: vec![("dns_timeout", 19)],
            cache_entries: 20,
            cache_octets: 21,
            cache_octets_max: u64::MAX,
            request_seconds: Histogram {
                buckets: vec![(0.005, 3), (1.0, 0), (2.5, 2)],
                longer: 1,
                sum: Duration::from_millis(12_345),
            },
        };
        assert_eq!(
            counters.open_metrics(),
            r#"# TYPE nsh_proxy_uptime_seconds gauge
# HELP nsh_proxy_uptime_seconds Since the start.
nsh_proxy_uptime_seconds 61
# TYPE nsh_proxy_connections counter
# HELP nsh_proxy_connections Accepted connections.
nsh_proxy_connections_total 1
# TYPE nsh_proxy_open_connections gauge
# HELP nsh_proxy_open_connections Connections now.
nsh_proxy_open_connections 2
# TYPE nsh_proxy_refused_connections counter
# HELP nsh_proxy_refused_connections Connections refused because there were too many.
nsh_proxy_refused_connections_total 3
# TYPE nsh_proxy_tunnels counter
# HELP nsh_proxy_tunnels Tunnels (CONNECT).
nsh_proxy_tunnels_total 4
# TYPE nsh_proxy_open_tunnels gauge
# HELP nsh_proxy_open_tunnels Tunnels now.
nsh_proxy_open_tunnels 5
# TYPE nsh_proxy_requests counter
# HELP nsh_proxy_requests Requests by what the cache did.
nsh_proxy_requests_total{result="hit"} 6
nsh_proxy_requests_total{result="miss"} 7
# TYPE nsh_proxy_responses counter
# HELP nsh_proxy_responses Answers by status.
nsh_proxy_responses_total{class="1xx"} 8
nsh_proxy_responses_total{class="2xx"} 9
nsh_proxy_responses_total{class="3xx"} 10
nsh_proxy_responses_total{class="4xx"} 11
nsh_proxy_responses_total{class="5xx"} 12
# TYPE nsh_proxy_client_octets counter
# HELP nsh_proxy_client_octets Octets sent to clients.
nsh_proxy_client_octets_total 13
# TYPE nsh_proxy_saved_octets counter
# HELP nsh_proxy_saved_octets Octets that came from the cache instead of an origin.
nsh_proxy_saved_octets_total 15
# TYPE nsh_proxy_origin_octets counter
# HELP nsh_proxy_origin_octets Octets received from origins.
nsh_proxy_origin_octets_total 14
# TYPE nsh_proxy_origin_connections counter
# HELP nsh_proxy_origin_connections Connections to origins.
nsh_proxy_origin_connections_total 16
# TYPE nsh_proxy_reused_origin_connections counter
# HELP nsh_proxy_reused_origin_connections Requests over a connection that was already there.
nsh_proxy_reused_origin_connections_total 17
# TYPE nsh_proxy_idle_origin_connections gauge
# HELP nsh_proxy_idle_origin_connections Connections to origins that wait for a request.
nsh_proxy_idle_origin_connections 18
# TYPE nsh_proxy_errors counter
# HELP nsh_proxy_errors Errors by their name in RFC 9209.
nsh_proxy_errors_total{error="dns_timeout"} 19
# TYPE nsh_proxy_cache_entries gauge
# HELP nsh_proxy_cache_entries Stored responses.
nsh_proxy_cache_entries 20
# TYPE nsh_proxy_cache_octets gauge
# HELP nsh_proxy_cache_octets Octets of them.
nsh_proxy_cache_octets 21
# TYPE nsh_proxy_cache_octets_max gauge
# HELP nsh_proxy_cache_octets_max Octets that may be stored.
nsh_proxy_cache_octets_max 18446744073709551615
# TYPE nsh_proxy_request_seconds histogram
# HELP nsh_proxy_request_seconds From a request's head to its answer's end.
nsh_proxy_request_seconds_bucket{le="0.005"} 3
nsh_proxy_request_seconds_bucket{le="1.0"} 3
nsh_proxy_request_seconds_bucket{le="2.5"} 5
nsh_proxy_request_seconds_bucket{le="+Inf"} 6
nsh_proxy_request_seconds_count 6
nsh_proxy_request_seconds_sum 12.345
# EOF
"#
        );
    }
}
