//! Which responses a shared cache may store, RFC 9111 section 3.
//!
//! Stricter than the RFC where one client's request could spoil the answers of others (cache
//! poisoning), and where what is stored could never be of use.

use super::directives::{RequestDirectives, ResponseDirectives};
use super::{Mode, freshness, lifetime, vary};
use crate::http::head::Fields;
use crate::http::range;

/// Frameworks route or rewrite by these, and no cache has them in its key unless Vary says so.
const ROUTING_FIELDS: [&str; 18] = [
    "Forwarded",
    "X-Forwarded-Host",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Uri",
    "X-HTTP-Host-Override",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Host",
    "X-Method-Override",
    "X-Original-Host",
    "X-Original-URI",
    "X-Original-URL",
    "X-Rewrite-URL",
];

/// What is known of the request that a response answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) fields: &'a Fields<'a>,
    pub(crate) has_body: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("only responses to GET are stored")]
    Method,
    #[error("the request has a body, which the cache key leaves out")]
    RequestBody,
    #[error("the request has {0}, which the cache key leaves out")]
    RoutingField(&'static str),
    #[error("the request says no-store")]
    RequestNoStore,
    #[error("a {0} answers only the request that it came for")]
    Status(u16),
    #[error("the response says must-understand, and a {0} is not understood here")]
    NotUnderstood(u16),
    #[error("the response says no-store")]
    NoStore,
    #[error("the response says private")]
    Private,
    #[error("the response says Vary: *")]
    VaryAny,
    #[error("the response has a Vary that is malformed or names too many fields")]
    VaryUnusable,
    #[error(
        "the request has Authorization, and the response says none of public, s-maxage and \
         must-revalidate"
    )]
    Authorization,
    #[error("the response is partial, without one valid Content-Range")]
    ContentRange,
    #[error("the response has Set-Cookie, and does not say how long it is fresh")]
    SetCookie,
    #[error("a {0} is stored only when it says how long it is fresh")]
    StatusNeedsFreshness(u16),
    #[error("the response says no-cache, and has nothing to validate it with")]
    NoCache,
    #[error("the response neither says how long it is fresh nor can be validated")]
    Useless,
}

impl Why {
    /// It says nothing about the response.
    pub(crate) fn is_of_request(self) -> bool {
        matches!(
            self,
            Why::Method
                | Why::RequestBody
                | Why::RoutingField(_)
                | Why::RequestNoStore
                | Why::Authorization
        )
    }
}

pub(crate) fn may_store(
    asked: &Asked,
    status: u16,
    response: &Fields,
    mode: Mode,
) -> Result<(), Why> {
    check_request(asked, response)?;
    let directives = ResponseDirectives::parse(response, mode);
    check_status(status, response)?;
    check_prohibitions(asked, status, &directives)?;
    if response.tokens("vary").any(|name| name == b"*") {
        return Err(Why::VaryAny);
    }
    if vary::names(response).is_none() {
        return Err(Why::VaryUnusable);
    }
    check_usefulness(status, response, &directives)
}

fn check_request(asked: &Asked, response: &Fields) -> Result<(), Why> {
    if asked.method != b"GET" {
        return Err(Why::Method);
    }
    if asked.has_body {
        return Err(Why::RequestBody);
    }
    if RequestDirectives::parse(asked.fields).no_store {
        return Err(Why::RequestNoStore);
    }
    let is_in_key = |name: &str| {
        let mut names = response.tokens("vary");
        names.any(|listed| listed.eq_ignore_ascii_case(name.as_bytes()))
    };
    let unkeyed = ROUTING_FIELDS
        .into_iter()
        .find(|name| asked.fields.first(name).is_some() && !is_in_key(name));
    unkeyed.map_or(Ok(()), |name| Err(Why::RoutingField(name)))
}

fn check_status(status: u16, response: &Fields) -> Result<(), Why> {
    match status {
        // Interim, or about this request's condition, range, expectation, header section or
        // sender. RFC 6585 forbids 428, 429, 431 and 511.
        ..200 | 304 | 407 | 412 | 416 | 417 | 421 | 428 | 429 | 431 | 511 => {
            Err(Why::Status(status))
        }
        206 => {
            let mut lines = response.all("content-range");
            let part = lines.next().and_then(range::parse_content_range);
            match part.is_some() && lines.next().is_none() {
                true => Ok(()),
                false => Err(Why::ContentRange),
            }
        }
        _ => Ok(()),
    }
}

fn check_prohibitions(
    asked: &Asked,
    status: u16,
    directives: &ResponseDirectives,
) -> Result<(), Why> {
    if directives.must_understand && !is_understood(status) {
        return Err(Why::NotUnderstood(status));
    }
    // RFC 9111 section 5.2.2.3: no-store beside it is for caches that do not know it.
    if directives.no_store && !directives.must_understand {
        return Err(Why::NoStore);
    }
    if directives.private {
        return Err(Why::Private);
    }
    // RFC 9111 section 3.5.
    let is_shared =
        directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if asked.fields.first("authorization").is_some() && !is_shared {
        return Err(Why::Authorization);
    }
    Ok(())
}

/// Final statuses whose caching requirements are met here.
fn is_understood(status: u16) -> bool {
    matches!(
        status,
        200 | 203 | 204 | 206 | 300..=303 | 307 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

fn check_usefulness(
    status: u16,
    response: &Fields,
    directives: &ResponseDirectives,
) -> Result<(), Why> {
    let is_explicit = lifetime::is_explicit(response, directives);
    if !is_explicit && response.first("set-cookie").is_some() {
        return Err(Why::SetCookie);
    }
    if !is_explicit && !lifetime::is_heuristically_cacheable(status, directives) {
        return Err(Why::StatusNeedsFreshness(status));
    }
    if freshness::has_validator(response) {
        return Ok(());
    }
    match (directives.no_cache, is_explicit) {
        (true, _) => Err(Why::NoCache),
        (false, true) => Ok(()),
        (false, false) => Err(Why::Useless),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::*;

    const DATE: (&str, &str) = ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    const FRESH: (&str, &str) = ("Cache-Control", "max-age=60");
    const ETAG: (&str, &str) = ("ETag", "\"a\"");

    fn store(request: &[(&str, &str)], status: u16, response: &[(&str, &str)]) -> Result<(), Why> {
        let asked = Asked {
            method: b"GET",
            fields: &fields(request),
            has_body: false,
        };
        may_store(&asked, status, &fields(response), Mode::default())
    }

    /// A plain GET's response with this status.
    #[track_caller]
    fn check(status: u16, response: &[(&str, &str)], expected: Result<(), Why>) {
        assert_eq!(
            store(&[], status, response),
            expected,
            "{status} {response:?}"
        );
    }

    /// A response that is fresh for a minute, to a request with this field.
    #[track_caller]
    fn check_request(field: (&str, &str), cache_control: &str, expected: Result<(), Why>) {
        let response = [("Cache-Control", cache_control), FRESH];
        assert_eq!(store(&[field], 200, &response), expected, "{field:?}");
    }

    #[test]
    fn any_final_status_with_explicit_freshness() {
        for status in [
            200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504,
            599,
        ] {
            check(status, &[FRESH], Ok(()));
            check(status, &[("Expires", "0")], Ok(()));
            check(status, &[("Cache-Control", "s-maxage=1")], Ok(()));
        }
        for status in [100, 103, 304, 412, 416, 429, 431, 511] {
            check(status, &[FRESH, ETAG], Err(Why::Status(status)));
        }
    }

    #[test]
    fn few_statuses_without() {
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            check(status, &[DATE], Ok(()));
            check(status, &[ETAG], Ok(()));
            check(status, &[], Err(Why::Useless));
            check(status, &[("ETag", "a")], Err(Why::Useless));
            check(status, &[("Last-Modified", "now")], Err(Why::Useless));
        }
        for status in [201, 202, 302, 403, 500, 502, 503, 504, 599] {
            check(
                status,
                &[DATE, ETAG],
                Err(Why::StatusNeedsFreshness(status)),
            );
            check(status, &[DATE, ("Cache-Control", "public")], Ok(()));
        }
    }

    #[test]
    fn prohibitions() {
        let check = |cache_control, expected| {
            check(200, &[("Cache-Control", cache_control), FRESH], expected);
        };
        check("no-store", Err(Why::NoStore));
        check("private", Err(Why::Private));
        check("private=\"set-cookie\"", Err(Why::Private));
        check("public, private", Err(Why::Private));
        check("no-cache", Err(Why::NoCache));
        check("no-store, must-understand", Ok(()));
        let cache_control = ("Cache-Control", "no-store, must-understand");
        super::tests::check(599, &[FRESH, cache_control], Err(Why::NotUnderstood(599)));
        super::tests::check(200, &[("Cache-Control", "no-cache"), ETAG], Ok(()));
    }

    #[test]
    fn vary() {
        for any in ["*", "*, *", ", *", "*, Foo", "Foo, *"] {
            check(200, &[FRESH, ("Vary", any)], Err(Why::VaryAny));
        }
        let lines = [FRESH, ("Vary", ""), ("Vary", "*")];
        check(200, &lines, Err(Why::VaryAny));
        check(200, &[FRESH, ("Vary", "a b")], Err(Why::VaryUnusable));
        check(200, &[FRESH, ("Vary", "a, b")], Ok(()));
    }

    #[test]
    fn cookies_are_not_shared_by_guess() {
        let cookie = ("Set-Cookie", "a=b");
        check(200, &[FRESH, cookie], Ok(()));
        check(200, &[DATE, cookie], Err(Why::SetCookie));
        check(200, &[ETAG, cookie], Err(Why::SetCookie));
    }

    #[test]
    fn authorization_needs_permission() {
        let field = ("Authorization", "Basic eDp5");
        check_request(field, "max-age=3600", Err(Why::Authorization));
        check_request(field, "proxy-revalidate", Err(Why::Authorization));
        for permission in ["public", "s-maxage=3600", "must-revalidate"] {
            check_request(field, permission, Ok(()));
        }
    }

    #[test]
    fn what_the_key_leaves_out_is_not_stored() {
        let field = ("x-forwarded-host", "evil");
        let refused = Why::RoutingField("X-Forwarded-Host");
        check_request(field, "public", Err(refused));
        assert_eq!(
            refused.to_string(),
            "the request has X-Forwarded-Host, which the cache key leaves out"
        );
        let keyed = [FRESH, ("Vary", "accept, x-forwarded-host")];
        assert_eq!(store(&[field], 200, &keyed), Ok(()));
        check_request(
            ("Cache-Control", "no-store"),
            "public",
            Err(Why::RequestNoStore),
        );
        check_request(("Cookie", "a=b"), "public", Ok(()));
        let store = |method, has_body| {
            let fields = &Fields::default();
            let asked = Asked {
                method,
                fields,
                has_body,
            };
            may_store(
                &asked,
                200,
                &super::super::fields(&[FRESH]),
                Mode::default(),
            )
        };
        assert_eq!(store(b"GET", true), Err(Why::RequestBody));
        assert_eq!(store(b"HEAD", false), Err(Why::Method));
        assert_eq!(store(b"get", false), Err(Why::Method));
    }

    #[test]
    fn parts_need_their_place() {
        let part = ("Content-Range", "bytes 4-9/10");
        check(206, &[FRESH, part], Ok(()));
        check(206, &[DATE, part], Ok(()));
        check(206, &[FRESH], Err(Why::ContentRange));
        check(206, &[FRESH, part, part], Err(Why::ContentRange));
        let backwards = ("Content-Range", "bytes 9-4/10");
        check(206, &[FRESH, backwards], Err(Why::ContentRange));
    }

    #[test]
    fn a_cdn_reads_its_own_field() {
        let lines = [
            ("Cache-Control", "no-store"),
            ("CDN-Cache-Control", "max-age=1"),
        ];
        let asked = Asked {
            method: b"GET",
            fields: &Fields::default(),
            has_body: false,
        };
        let store = |lines, cdn| may_store(&asked, 200, &fields(lines), Mode { cdn });
        assert_eq!(store(&lines, true), Ok(()));
        assert_eq!(store(&lines, false), Err(Why::NoStore));
        let expires = [("Expires", "0"), ("CDN-Cache-Control", "public")];
        assert_eq!(store(&expires, true), Err(Why::Useless));
    }
}
