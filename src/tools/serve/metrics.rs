//! Counters that each loop keeps for itself, and their sums for `jobs` and `/-/metrics`.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One loop's. Aligned, so that two loops never write the same cache line.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) closed: Counter,
    pub(super) refused: Counter,
    pub(super) requests: Counter,
    /// Of bodies.
    pub(super) octets: Counter,
    /// Answers by the first digit of their status.
    classes: [Counter; 5],
}

/// Written by one thread only.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now + count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn count_answer(&self, status: u16) {
        self.requests.add(1);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.classes[class].add(1);
    }
}

pub(super) struct Metrics {
    pub(super) loops: Vec<Arc<Counters>>,
    pub(super) started: Instant,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) accepted: u64,
    pub(super) open: u64,
    pub(super) refused: u64,
    pub(super) requests: u64,
    pub(super) octets: u64,
    pub(super) classes: [u64; 5],
}

impl Metrics {
    pub(super) fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for counters in &self.loops {
            let closed = counters.closed.value();
            let accepted = counters.accepted.value();
            sum.accepted += accepted;
            sum.open += accepted.saturating_sub(closed);
            sum.refused += counters.refused.value();
            sum.requests += counters.requests.value();
            sum.octets += counters.octets.value();
            for (sum, counter) in sum.classes.iter_mut().zip(&counters.classes) {
                *sum += counter.value();
            }
        }
        sum
    }

    /// The OpenMetrics text format, 1.0.
    pub(super) fn open_metrics(&self, now: Instant) -> String {
        let sum = self.sum();
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
            let _ = writeln!(text, "# TYPE {name} {kind}\n# HELP {name} {help}");
            for (suffix, value) in samples {
                let _ = writeln!(text, "{name}{suffix} {value}");
            }
        };
        let total = |value| [("_total".to_owned(), value)];
        let name = "nsh_serve_connections";
        family(
            name,
            "counter",
            "Accepted connections.",
            &total(sum.accepted),
        );
        let open = [(String::new(), sum.open)];
        family(
            "nsh_serve_open_connections",
            "gauge",
            "Connections now.",
            &open,
        );
        let help = "Connections refused because there were too many.";
        family(
            "nsh_serve_refused_connections",
            "counter",
            help,
            &total(sum.refused),
        );
        let classes = sum.classes.iter().enumerate();
        let classes: Vec<(String, u64)> = classes
            .map(|(class, count)| (format!("_total{{class=\"{}xx\"}}", class + 1), *count))
            .collect();
        family(
            "nsh_serve_responses",
            "counter",
            "Answers by status.",
            &classes,
        );
        family(
            "nsh_serve_body_octets",
            "counter",
            "Octets of bodies.",
            &total(sum.octets),
        );
        let seconds = now.saturating_duration_since(self.started).as_secs();
        let seconds = [(String::new(), seconds)];
        family(
            "nsh_serve_uptime_seconds",
            "gauge",
            "Since the start.",
            &seconds,
        );
        text.push_str("# EOF\n");
        text
    }
}
