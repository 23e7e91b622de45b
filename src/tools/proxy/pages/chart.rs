//! The status page's two pictures over time: how many requests, and how many of them the cache
//! answered.

use std::time::Duration;

use super::status::{Bucket, grouped, percent, plural};
use crate::duration;

const BUCKETS_MAX: usize = 60;
/// The height of a picture in its own units; the style says how large it is on the page.
const HEIGHT: f64 = 100.0;

/// `buckets` end now, and each of them lasts for `span`.
pub(super) fn charts(buckets: &[Bucket], span: Duration) -> String {
    let buckets = &buckets[buckets.len().saturating_sub(BUCKETS_MAX)..];
    let most = buckets.iter().map(|bucket| bucket.requests).max();
    let most = most.unwrap_or(0);
    let requests: u64 = buckets.iter().map(|bucket| bucket.requests).sum();
    let hits: u64 = buckets.iter().map(Bucket::hits).sum();
    let ratio = percent(hits, requests);
    let counts = match requests {
        0 => "none".to_owned(),
        _ => {
            let span = duration::human(span);
            format!("{}, at most {} in {span}", grouped(requests), grouped(most))
        }
    };
    let bars = picture(
        "Requests",
        buckets,
        span,
        |slot, bucket| bar(slot, bucket, most),
        "",
    );
    let areas = picture("Hit ratio", buckets, span, area, &line(buckets));
    let lasting = duration::human(span * BUCKETS_MAX as u32);
    let axis = format!(r#"<p class="axis"><span>{lasting} ago</span><span>now</span></p>"#);
    format!(
        r#"<div class="charts">
<figure>
<figcaption><h2>Requests</h2><p class="quiet">{counts}</p></figcaption>
{bars}{axis}
</figure>
<figure>
<figcaption><h2>Hit ratio</h2><p class="quiet">{ratio}</p></figcaption>
{areas}{axis}
</figure>
</div>
"#,
    )
}

/// One place of equal width for each bucket, the newest at the right; `over` lies above all.
fn picture(
    name: &str,
    buckets: &[Bucket],
    span: Duration,
    draw: impl Fn(usize, &Bucket) -> String,
    over: &str,
) -> String {
    let first = BUCKETS_MAX - buckets.len();
    let mut places = String::new();
    for (slot, bucket) in (first..).zip(buckets) {
        if bucket.requests == 0 {
            continue;
        }
        let ago = duration::human(span * (BUCKETS_MAX - slot) as u32);
        let requests = plural(bucket.requests, "request");
        let hits = plural(bucket.hits(), "hit");
        let shape = draw(slot, bucket);
        places += &format!(
            r#"<g><title>{ago} ago: {requests}, {hits}</title><path class="slot" d="M{slot} 0h1v{HEIGHT}h-1z"/>{shape}</g>
"#
        );
    }
    format!(
        r#"<svg viewBox="0 0 {BUCKETS_MAX} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{name} over time">
{places}{over}</svg>
"#
    )
}

/// The hits at the foot, the other requests on top of them.
fn bar(slot: usize, bucket: &Bucket, most: u64) -> String {
    let height = |count: u64| HEIGHT * count as f64 / most as f64;
    let hits = height(bucket.hits());
    let others = height(bucket.requests) - hits;
    let x = slot as f64 + 0.12;
    format!(
        r#"<path class="others" d="M{x:.2} {:.1}h.76v{others:.1}h-.76z"/><path class="hits" d="M{x:.2} {:.1}h.76v{hits:.1}h-.76z"/>"#,
        HEIGHT - hits - others,
        HEIGHT - hits,
    )
}

fn area(slot: usize, bucket: &Bucket) -> String {
    let top = top(bucket);
    format!(r#"<path class="area" d="M{slot} {top:.1}h1V{HEIGHT}h-1z"/>"#)
}

/// Where the hit ratio of a bucket with requests is.
fn top(bucket: &Bucket) -> f64 {
    HEIGHT - HEIGHT * bucket.hits() as f64 / bucket.requests as f64
}

/// Along the tops of all areas, with gaps where there were no requests.
fn line(buckets: &[Bucket]) -> String {
    let first = BUCKETS_MAX - buckets.len();
    let mut steps = String::new();
    let mut draws = false;
    for (slot, bucket) in (first..).zip(buckets) {
        match (draws, bucket.requests) {
            (_, 0) => {}
            (false, _) => steps += &format!("M{slot} {:.1}h1", top(bucket)),
            (true, _) => steps += &format!("V{:.1}h1", top(bucket)),
        }
        draws = bucket.requests > 0;
    }
    format!("<path class=\"line\" d=\"{steps}\"/>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(requests: u64, hits: u64) -> Bucket {
        Bucket { requests, hits }
    }

    #[test]
    fn buckets_stand_at_the_right() {
        let buckets = [bucket(4, 1), bucket(0, 0), bucket(8, 8)];
        let charts = charts(&buckets, Duration::from_secs(10));
        for expected in [
            "12, at most 8 in 10.0 s",
            "<h2>Hit ratio</h2><p class=\"quiet\">75.0 %</p>",
            "<span>10 m 0 s ago</span><span>now</span>",
            "<title>30.0 s ago: 4 requests, 1 hit</title><path class=\"slot\" d=\"M57 0h1v100h-1z\"/>\
             <path class=\"others\" d=\"M57.12 50.0h.76v37.5h-.76z\"/>\
             <path class=\"hits\" d=\"M57.12 87.5h.76v12.5h-.76z\"/></g>",
            "<path class=\"area\" d=\"M57 75.0h1V100h-1z\"/></g>",
            "<path class=\"line\" d=\"M57 75.0h1M59 0.0h1\"/>\n</svg>",
        ] {
            assert!(charts.contains(expected), "no {expected} in {charts}");
        }
        assert!(!charts.contains("M58"), "nothing happened then: {charts}");
        let busy = line(&[bucket(1, 1), bucket(2, 1), bucket(0, 0)]);
        assert_eq!(busy, "<path class=\"line\" d=\"M57 0.0h1V50.0h1\"/>\n");
    }

    #[test]
    fn only_the_newest_count() {
        let mut buckets = vec![bucket(1000, 0); 5];
        buckets.extend([bucket(2, 3); BUCKETS_MAX]);
        let charts = charts(&buckets, Duration::from_secs(1));
        assert!(charts.contains("120, at most 2 in"), "{charts}");
        assert!(charts.contains(">100.0 %<"), "{charts}");
        assert!(!charts.contains("NaN") && !charts.contains("inf"));
    }
}
