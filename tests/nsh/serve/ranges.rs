//! Parts of files, RFC 9110 section 14.

use super::{Server, serve, www};

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
const SIZE: u64 = 5 << 30;

fn letters() -> Server {
    let place = www();
    place.write("www/letters.txt", LETTERS);
    serve(place, "--cache '*.txt=60'")
}

/// The status, Content-Range and the octets of an answer to a GET with this Range.
#[track_caller]
fn check(server: &Server, range: &str, status: u16, content_range: &str, body: &str) {
    let answer = server.ask("GET /letters.txt", &[&format!("Range: {range}")]);
    assert_eq!(answer.status, status, "{range}");
    let got = answer.field("content-range").unwrap_or_default();
    assert_eq!(got, content_range, "{range}");
    if status != 416 {
        assert_eq!(answer.text(), body, "{range}");
        let media_type = answer.field("content-type");
        assert_eq!(media_type, Some("text/plain; charset=utf-8"), "{range}");
    }
}

#[test]
fn one_part() {
    let server = letters();
    check(&server, "bytes=0-4", 206, "bytes 0-4/26", "abcde");
    check(&server, "bytes=0-0", 206, "bytes 0-0/26", "a");
    check(&server, "bytes=25-25", 206, "bytes 25-25/26", "z");
    check(&server, "bytes=20-", 206, "bytes 20-25/26", "uvwxyz");
    check(&server, "bytes=20-99", 206, "bytes 20-25/26", "uvwxyz");
    check(
        &server,
        "bytes=20-99999999999999999999",
        206,
        "bytes 20-25/26",
        "uvwxyz",
    );
    check(&server, "bytes=-4", 206, "bytes 22-25/26", "wxyz");
    check(&server, "bytes=-99", 206, "bytes 0-25/26", LETTERS);
    check(&server, "bytes=0-", 206, "bytes 0-25/26", LETTERS);
    check(&server, "BYTES=0-4", 206, "bytes 0-4/26", "abcde");
    check(&server, "bytes=0-4,99-", 206, "bytes 0-4/26", "abcde");
    check(&server, "bytes=,0-4 ,", 206, "bytes 0-4/26", "abcde");
    check(&server, "bytes=26-", 416, "bytes */26", "");
    check(
        &server,
        "bytes=99999999999999999999-",
        416,
        "bytes */26",
        "",
    );
    check(&server, "bytes=26-30,99-", 416, "bytes */26", "");
    check(&server, "bytes=-0", 416, "bytes */26", "");
}

/// RFC 9110 section 14.2.
#[test]
fn what_does_not_count() {
    let server = letters();
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=4-0",
        "bytes=0-4,4-0",
        "bytes=0-4;5-6",
        "bytes=+0-4",
        "bytes=0--4",
        "bytes=0x0-4",
        "bytes:0-4",
        "bytes 0-4",
        "octets=0-4",
        "lines=1-2",
    ] {
        check(&server, range, 200, "", LETTERS);
    }
    // RFC 9110 section 14.2 names overlaps and many small parts as an attack.
    check(&server, "bytes=0-,0-", 200, "", LETTERS);
    check(&server, "bytes=0-9,5-14", 200, "", LETTERS);
    let many: Vec<String> = (0..200).map(|at| format!("{at}-{at}")).collect();
    check(
        &server,
        &format!("bytes={}", many.join(",")),
        200,
        "",
        LETTERS,
    );
    let plain = server.ask("HEAD /letters.txt", &[]).without_date();
    for range in ["bytes=0-4", "bytes=99-", "bytes=0-1,3-4"] {
        let head = server.ask("HEAD /letters.txt", &[&format!("Range: {range}")]);
        assert_eq!(head.without_date(), plain, "{range}");
    }
    server.place.write("www/empty", "");
    for (range, status) in [("bytes=0-", 416), ("bytes=-5", 200)] {
        let answer = server.ask("GET /empty", &[&format!("Range: {range}")]);
        assert_eq!(answer.status, status, "{range}");
    }
}

/// RFC 9110 section 15.3.7.
#[test]
fn a_part_has_the_fields_of_the_whole() {
    let server = letters();
    server.place.write("www/letters.txt.gz", "gzip");
    let whole = server.get("/letters.txt");
    assert_eq!(whole.field("accept-ranges"), Some("bytes"));
    let part = server.ask("GET /letters.txt", &["Range: bytes=0-4"]);
    let parts = server.ask("GET /letters.txt", &["Range: bytes=0-4,9-9"]);
    for name in ["etag", "last-modified", "cache-control", "vary"] {
        assert!(whole.field(name).is_some(), "{name}");
        assert_eq!(part.field(name), whole.field(name));
        assert_eq!(parts.field(name), whole.field(name));
    }
    let coded = server.ask(
        "GET /letters.txt",
        &["Accept-Encoding: gzip", "Range: bytes=1-2"],
    );
    assert_eq!((coded.status, coded.text()), (206, "zi"));
    assert_eq!(coded.field("content-encoding"), Some("gzip"));
    assert_eq!(coded.field("content-range"), Some("bytes 1-2/4"));
    assert_ne!(coded.field("etag"), whole.field("etag"));
}

/// RFC 9110 section 14.6: each part's Content-Range, type and octets.
#[track_caller]
fn check_parts(server: &Server, range: &str, expected: &[(&str, &str)]) {
    let answer = server.ask("GET /letters.txt", &[&format!("Range: {range}")]);
    assert_eq!(
        (answer.status, answer.field("content-range")),
        (206, None),
        "{range}"
    );
    let media_type = answer.field("content-type").expect("a type");
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.expect("a multipart type");
    let body = format!("\r\n{}", answer.text().trim_start_matches("\r\n"));
    let delimiter = format!("\r\n--{boundary}");
    let mut pieces: Vec<&str> = body.split(&delimiter).collect();
    assert_eq!(
        pieces.pop().map(str::trim_end),
        Some("--"),
        "the end of {body:?}"
    );
    assert_eq!(pieces.remove(0), "", "the start of {body:?}");
    let parts: Vec<(&str, &str)> = pieces
        .iter()
        .map(|piece| {
            let (head, octets) = piece.split_once("\r\n\r\n").expect("a part");
            assert!(
                head.contains("\r\nContent-Type: text/plain; charset=utf-8"),
                "{head}"
            );
            let (_, content_range) = head.split_once("\r\nContent-Range: ").expect("a range");
            (content_range.lines().next().expect("a line"), octets)
        })
        .collect();
    assert_eq!(parts, expected, "{range}");
}

#[test]
fn several_parts() {
    let server = letters();
    check_parts(
        &server,
        "bytes=0-4,10-12",
        &[("bytes 0-4/26", "abcde"), ("bytes 10-12/26", "klm")],
    );
    check_parts(
        &server,
        "bytes=-2, 0-1 ,99-, 5-5",
        &[
            ("bytes 24-25/26", "yz"),
            ("bytes 0-1/26", "ab"),
            ("bytes 5-5/26", "f"),
        ],
    );
    server.check(
        "GET /letters.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-4,10-12\r\n\r\n",
        "206 next",
    );
}

#[test]
fn files_larger_than_four_gigabytes() {
    let server = serve(www(), "");
    let file = server.sparse("www/sparse", SIZE);
    std::os::unix::fs::FileExt::write_all_at(&file, b"end.", SIZE - 4).expect("room");
    let head = server.ask("HEAD /sparse", &[]);
    assert_eq!(head.field("content-length"), Some("5368709120"));
    for range in [
        "bytes=-4",
        "bytes=5368709116-",
        "bytes=5368709116-9999999999",
    ] {
        let part = server.ask("GET /sparse", &[&format!("Range: {range}")]);
        assert_eq!((part.status, part.text()), (206, "end."), "{range}");
        let content_range = part.field("content-range");
        assert_eq!(
            content_range,
            Some("bytes 5368709116-5368709119/5368709120")
        );
    }
    let over = server.ask("GET /sparse", &["Range: bytes=5368709120-"]);
    assert_eq!(
        (over.status, over.field("content-range")),
        (416, Some("bytes */5368709120"))
    );
    let parts = server.ask("GET /sparse", &["Range: bytes=0-0,-4"]);
    assert!(
        parts.status == 206 && parts.text().contains("end."),
        "{parts:?}"
    );
    let listing = server.ask("GET /", &["Accept: application/json"]);
    assert!(listing.text().contains("5368709120"));
}

/// Parts of what is sent from the file, and not from memory.
#[test]
fn parts_of_a_large_file() {
    let server = serve(www(), "");
    let octets: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
    server.place.write("www/large", &octets);
    for (first, last) in [
        (0, 0),
        (1, 999_999),
        (999_999, 1_999_999),
        (1_999_999, 1_999_999),
    ] {
        let part = server.ask("GET /large", &[&format!("Range: bytes={first}-{last}")]);
        assert!(
            part.status == 206 && part.body == octets[first..=last],
            "{first}-{last}"
        );
    }
    assert!(server.get("/large").body == octets);
}
