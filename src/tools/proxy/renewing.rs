//! Stale responses that are fetched anew behind the back of whom they are served to (RFC 5861
//! section 3).

use std::sync::Arc;
use std::thread;

use super::cache::{Cache, Found};
use super::exchange::{Turn, plan_for};
use super::fetch::{Question, fetch};
use super::filling;
use super::flight::Role;
use super::rewrite::line;
use super::shared::Shared;
use super::stored::freshen;
use super::target::{self, Form, Purpose, Target};
use super::upstream::Visitor;
use crate::clock;
use crate::http::head::parse_request;
use crate::http::request;

/// RFC 5861 section 3: the client does not wait for that.
pub(super) fn renew_in_background(turn: &Turn, cache: &Cache, target: &Target, url: &str) {
    let Role::Pilot(pilot) = cache.flights.join(url) else {
        return;
    };
    drop(pilot);
    if !cache.enter_background() {
        return;
    }
    let authority = target.authority();
    let mut octets = format!("GET {} HTTP/1.1\r\nHost: {authority}\r\n", url).into_bytes();
    let own = [
        "host",
        "range",
        "if-range",
        "if-none-match",
        "if-modified-since",
        "cache-control",
    ];
    for field in &turn.request.head.fields.0 {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        if !own.contains(&name.as_str()) {
            line(&mut octets, field.name, field.value);
        }
    }
    octets.extend_from_slice(b"\r\n");
    let (shared, form) = (Arc::clone(turn.shared), target.form);
    let visitor = turn.visitor(form);
    let spawned = thread::Builder::new()
        .name("proxy-renew".to_owned())
        .spawn(move || {
            let _ = renew(&shared, &octets, form, visitor);
            if let Some(cache) = &shared.cache {
                cache.leave_background();
            }
        });
    if spawned.is_err() {
        cache.leave_background();
    }
}

/// Fetches anew what is stored for this request, for nobody who waits.
fn renew(shared: &Arc<Shared>, octets: &[u8], form: Form, visitor: Visitor) -> Option<()> {
    let cache = shared.cache.as_ref()?;
    let request = request::interpret(parse_request(octets).ok()?).ok()?;
    let purpose = target::interpret(&request, None).ok()?;
    let Purpose::Resource(target) = purpose else {
        return None;
    };
    // What is kept from the site in path form is kept from it now, too.
    let target = Target { form, ..target };
    let url = target.url();
    let Role::Pilot(pilot) = cache.flights.join(&url) else {
        return None;
    };
    let found = cache.find(&url, &request.head.fields, clock::system());
    let Found::Entry(entry, _) = found else {
        return None;
    };
    let conditions = cache.prepared(&entry).terms.conditions();
    let mut plan = plan_for(shared, &target, std::net::Ipv4Addr::LOCALHOST.into());
    plan.forwarded = None;
    plan.conditions = (!conditions.is_empty()).then_some(&conditions);
    let question = Question {
        request: &request,
        target: &target,
        plan,
        visitor,
        began: clock::now(),
    };
    let fetched = fetch(shared, &question, None, &mut Vec::new()).ok()?;
    let head = fetched.parsed().ok()?;
    if head.status == 304 && !conditions.is_empty() {
        if let Some(fresh) = freshen(cache, &entry, &request, &fetched).ok()? {
            pilot.land(fresh);
        }
        return Some(());
    }
    let meta = cache.meta(&url, &request, &fetched, &head, &shared.pseudonym);
    match meta {
        Ok(meta) => filling::fill_unseen(shared, cache, fetched, meta, pilot),
        Err(why) => cache.forget_replaced(&url, head.status, why),
    }
    Some(())
}
