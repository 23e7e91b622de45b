//! What a store keeps, and what it does when its files are not what they were.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

pub(super) const OCTETS_MAX: u64 = 64 << 20;
pub(super) const MEMORY_MAX: u64 = 1 << 20;
pub(super) const URL: &str = "http://example.com/a?b";

pub(super) fn open(folder: &TempDir) -> Store<String> {
    Store::open(folder.path(), OCTETS_MAX, MEMORY_MAX).expect("a store")
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(super) fn meta(url: &str, seconds: u64) -> Meta {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    Meta {
        url: url.to_owned(),
        selecting: vec![("accept-language".to_owned(), b"de".to_vec())],
        status: 200,
        reason: "OK".to_owned(),
        fields: vec![(b"ETag".to_vec(), b"\"\xe9\t\\\x80\"".to_vec())],
        request_time: time,
        response_time: time,
        part: None,
    }
}

pub(super) fn put<T>(store: &Store<T>, meta: Meta, body: &[u8]) -> Option<Arc<Entry<T>>> {
    let mut writer = store.write(meta, None)?;
    for piece in body.chunks(100_000) {
        writer.append(piece).ok()?;
    }
    writer.commit()
}

fn octets(body: Body, length: u64) -> Vec<u8> {
    match body {
        Body::Memory(octets) => octets.to_vec(),
        Body::File(file) => {
            let mut octets = vec![0; usize::try_from(length).expect("little")];
            file.read_exact_at(&mut octets, 0).expect("all of it");
            octets
        }
    }
}

pub(super) fn body<T>(entry: &Arc<Entry<T>>) -> Option<Vec<u8>> {
    Some(octets(entry.body().ok()?, entry.length))
}

/// Exactly these metadata and bodies are found for the URL.
#[track_caller]
pub(super) fn check<T>(store: &Store<T>, url: &str, expected: &[(&Meta, &[u8])]) {
    let found = store.find(url);
    let found: Vec<_> = found
        .iter()
        .map(|entry| (&entry.meta, body(entry)))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(meta, body)| (*meta, Some(body.to_vec())))
        .collect();
    assert_eq!(found, expected);
}

/// The files of entries.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let all = |folder: &Path| {
        fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let outer = all(folder).flat_map(|outer| all(&outer));
    outer.flat_map(|inner| all(&inner)).collect()
}

pub(super) fn long_body() -> Vec<u8> {
    (0..HOT_BODY_MAX as u32 + 77)
        .map(|n| (n % 251) as u8)
        .collect()
}

#[test]
fn what_is_written_is_found_now_and_after_a_restart() {
    let folder = folder();
    let store = open(&folder);
    let (short, long, empty) = (b"a\0b\xff".to_vec(), long_body(), Vec::new());
    let mut part = meta("http://example.com/part", 2);
    part.part = Some(Part {
        first: 5,
        complete: 1000,
    });
    let mut odd = meta("http://\u{1f980}.example/\"\\", 3);
    odd.fields = (1..=255)
        .map(|octet| (vec![octet], vec![octet; 300]))
        .collect();
    let all = [(meta(URL, 1), &short), (part, &long), (odd, &empty)];
    for (meta, body) in &all {
        put(&store, meta.clone(), body).expect("room");
    }
    let size = store.size();
    let check_all = |store: &Store<String>| {
        for (meta, body) in &all {
            check(store, &meta.url, &[(meta, body)]);
        }
        check(store, "http://example.com/a", &[]);
        let octets = files(folder.path())
            .into_iter()
            .map(|file| on_disk(file.metadata().expect("a file").len()));
        assert_eq!(
            (store.size().entries, store.size().octets),
            (3, octets.sum())
        );
    };
    check_all(&store);
    drop(store);
    let store = open(&folder);
    assert_eq!(
        store.size(),
        Usage {
            hot_octets: 0,
            ..size
        }
    );
    check_all(&store);
    check_all(&store);
    assert_eq!(store.size(), size);
}

#[test]
fn a_newer_response_takes_the_place_of_the_older() {
    let folder = folder();
    let store = open(&folder);
    let older = put(&store, meta(URL, 1), b"older").expect("room");
    let mut french = meta(URL, 3);
    french.selecting[0].1 = b"fr".to_vec();
    put(&store, french.clone(), b"French").expect("room");
    let long = long_body();
    let first = put(&store, meta("http://a/", 1), &long).expect("room");
    let reader = first.body().expect("a body");
    put(&store, meta("http://a/", 2), b"second").expect("room");
    put(&store, meta(URL, 2), b"newer").expect("room");

    let newer = meta(URL, 2);
    check(&store, URL, &[(&french, b"French"), (&newer, b"newer")]);
    check(&store, "http://a/", &[(&meta("http://a/", 2), b"second")]);
    assert!(octets(reader, first.length) == long, "it was being read");
    assert!(first.body().is_err(), "another body would be wrong");
    store.remove(&older);
    store.remove(&first);
    assert_eq!(files(folder.path()).len(), 3);
    assert_eq!(store.size().entries, 3);
    drop(store);
    check(
        &open(&folder),
        URL,
        &[(&french, b"French"), (&newer, b"newer")],
    );
}

#[test]
fn new_metadata_leaves_the_body_as_it_is() {
    let folder = folder();
    for body in [&b"short"[..], &long_body()] {
        let store = open(&folder);
        let first = put(&store, meta(URL, 1), body).expect("room");
        first.prepared.get_or_init(|| "derived".to_owned());
        let reader = first.body().expect("a body");
        let mut longer = meta("http://ignored/", 5);
        longer.selecting.clear();
        longer.fields.push((b"X".to_vec(), vec![b'x'; 9000]));
        let fresh = store.freshen(&first, longer.clone()).expect("room");
        assert_eq!(fresh.prepared.get(), None);
        let shorter = Meta {
            fields: Vec::new(),
            ..meta(URL, 9)
        };
        let longer = Meta {
            url: URL.to_owned(),
            selecting: shorter.selecting.clone(),
            ..longer
        };
        check(&store, URL, &[(&longer, body)]);
        drop(store);
        let store = open(&folder);
        check(&store, URL, &[(&longer, body)]);
        // Those who have the older metadata in hand have the same body.
        let older = store.find(URL).remove(0);
        store.freshen(&older, shorter.clone()).expect("room");
        check(&store, URL, &[(&shorter, body)]);
        assert!(
            self::body(&older).as_deref() == Some(body) && octets(reader, first.length) == body
        );
        drop(store);
        let store = open(&folder);
        check(&store, URL, &[(&shorter, body)]);
        let gone = store.find(URL).remove(0);
        assert_eq!(store.remove_url(URL), 1);
        assert!(store.freshen(&gone, shorter).is_none());
        assert!(files(folder.path()).is_empty());
    }
}

#[test]
fn there_is_never_more_than_fits() {
    const ROOM: u64 = 7 * BLOCK_OCTETS;
    let folder = folder();
    let store: Store<()> = Store::open(folder.path(), ROOM, 0).expect("a store");
    let url = |n: u64| format!("http://a/{n}");
    for n in 0..20 {
        let entry = put(&store, meta(&url(n), n), &[0; 1000]).expect("room");
        assert!(store.size().octets <= ROOM);
        if n == 3 {
            store.touch(&entry);
        }
    }
    let listed = store.list();
    let mut left: Vec<u64> = listed
        .iter()
        .filter_map(|listed| listed.url[9..].parse().ok())
        .collect();
    left.sort_unstable();
    assert_eq!(left, [3, 14, 15, 16, 17, 18, 19]);
    assert_eq!(listed.iter().map(|listed| listed.uses).sum::<u64>(), 1);
    assert_eq!(files(folder.path()).len(), 7);

    // The whole of it is not for one, nor for what is never completed.
    assert!(put(&store, meta(URL, 1), &[0; 7169]).is_none());
    let half = |n| {
        let mut writer = store.write(meta(&url(n), 1), None).expect("a writer");
        let appended = writer.append(&[0; 6000]);
        (writer, appended.is_ok())
    };
    let writers = [half(1), half(2), half(3)];
    assert_eq!(
        writers.each_ref().map(|(_, appended)| *appended),
        [true, true, false]
    );
    assert!(store.size().octets <= ROOM - 12_000);
    drop(writers);
    assert!(half(3).1, "a refusal is no reason to pause");

    drop(store);
    let store: Store<()> = Store::open(folder.path(), 2 * BLOCK_OCTETS, 0).expect("a store");
    assert_eq!(store.size().entries, files(folder.path()).len());
    check(&store, &url(19), &[(&meta(&url(19), 19), &[0; 1000])]);
    check(&store, &url(3), &[]);
}

#[test]
fn memory_is_bounded() {
    let folder = folder();
    let store: Store<()> = Store::open(folder.path(), OCTETS_MAX, 50_000).expect("a store");
    for n in 0..20 {
        put(&store, meta(&format!("http://a/{n}"), n), &[0; 9000]).expect("room");
    }
    let hot = |store: &Store<()>| store.list().iter().filter(|listed| listed.is_hot).count();
    assert_eq!(hot(&store), 5);
    for n in 0..20 {
        let url = format!("http://a/{n}");
        check(&store, &url, &[(&meta(&url, n), &[0; 9000])]);
        assert!(store.size().hot_octets <= 50_000);
    }
    assert_eq!(
        (hot(&store), store.purge_all(), store.size().hot_octets),
        (5, 20, 0)
    );
}

#[test]
fn what_is_not_kept() {
    let folder = folder();
    let store = open(&folder);
    assert!(
        store
            .write(meta(&"a".repeat(URL_OCTETS_MAX + 1), 1), None)
            .is_none()
    );
    let mut long = meta(URL, 1);
    long.fields.push((b"X".to_vec(), vec![b'x'; 2 << 20]));
    assert!(put(&store, long.clone(), b"").is_none());
    let entry = put(&store, meta(URL, 1), b"").expect("room");
    assert!(store.freshen(&entry, long).is_none());
    check(&store, URL, &[(&meta(URL, 1), b"")]);
}

#[test]
fn purging() {
    let folder = folder();
    let store = open(&folder);
    let fill = || {
        for url in [
            "http://a/",
            "http://a/b",
            "http://a/b/c.png",
            "http://a.b/c.png",
        ] {
            put(&store, meta(url, 1), b"").expect("room");
        }
    };
    let purged = |pattern: &str, expected: usize| {
        fill();
        assert_eq!(store.purge(pattern), expected, "{pattern}");
        assert_eq!(files(folder.path()).len(), 4 - expected);
    };
    purged("http://a/", 3);
    purged("http://a/b", 1);
    purged("http://a/b/", 1);
    purged("*.png", 2);
    purged("http://a", 0);
    purged("*", 4);
}

#[test]
fn many_threads_at_once() {
    let folder = folder();
    let store: Store<()> = Store::open(folder.path(), 200_000, 20_000).expect("a store");
    let url = |n: u64| format!("http://a/{}", n % 13);
    let work = |thread: u64| {
        for n in 0..300 {
            let url = url(n * 7 + thread);
            match (n + thread) % 5 {
                0 => drop(put(&store, meta(&url, n), url.repeat(500).as_bytes())),
                1 => drop(
                    store
                        .find(&url)
                        .first()
                        .map(|entry| store.freshen(entry, meta("", n))),
                ),
                2 if n % 10 == 0 => drop(store.remove_url(&url)),
                _ => {
                    for entry in store.find(&url) {
                        store.touch(&entry);
                        assert_eq!(entry.meta.url, url);
                        // It may be gone already.
                        if let Some(body) = body(&entry) {
                            assert!(body == url.repeat(500).as_bytes(), "another body");
                        }
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..6 {
            scope.spawn(move || work(thread));
        }
    });
    let (size, verified) = (store.size(), store.verify());
    assert_eq!(
        (verified.checked, verified.octets),
        (size.entries, size.octets)
    );
    assert_eq!(
        (verified.removed, files(folder.path()).len()),
        (vec![], size.entries)
    );
}
