use super::tests::*;
use super::*;
use std::time::Instant;
#[test]
#[ignore]
fn measure() {
    let folder = tempfile::tempdir_in("/tmp").expect("x");
    let mk = |n: u64| {
        let mut m = meta(
            &format!("http://example.com/some/path/of/usual/length/{n}?q=1"),
            n,
        );
        for i in 0..12 {
            m.fields
                .push((format!("X-Field-{i}").into_bytes(), vec![b'v'; 40]));
        }
        m
    };
    let store: Store<()> = Store::open(folder.path(), 1 << 40, 512 << 20).expect("s");
    let t = Instant::now();
    for n in 0..10_000 {
        put(&store, mk(n), &[7; 2000]).expect("r");
    }
    eprintln!("write {:?} each", t.elapsed() / 10_000);
    let url = mk(5).url;
    let t = Instant::now();
    for _ in 0..1_000_000 {
        std::hint::black_box(store.find(std::hint::black_box(&url)));
    }
    eprintln!("hot find {:?}", t.elapsed() / 1_000_000);
    let t = Instant::now();
    for _ in 0..1_000_000 {
        let e = store.find(&url);
        store.touch(&e[0]);
        std::hint::black_box(e[0].body().ok());
    }
    eprintln!("hot find+touch+body {:?}", t.elapsed() / 1_000_000);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                let t = Instant::now();
                for _ in 0..1_000_000 {
                    std::hint::black_box(store.find(std::hint::black_box(&url)));
                }
                eprintln!("hot find 2 threads {:?}", t.elapsed() / 1_000_000);
            });
        }
    });
    eprintln!("{:?}", store.size());
    drop(store);
    for _ in 0..3 {
        let t = Instant::now();
        let store: Store<()> = Store::open(folder.path(), 1 << 40, 512 << 20).expect("s");
        eprintln!("open {:?} {}", t.elapsed(), store.size().entries);
        drop(store);
    }
    let store: Store<()> = Store::open(folder.path(), 1 << 40, 512 << 20).expect("s");
    let t = Instant::now();
    for n in 0..10_000 {
        let e = store.find(&mk(n).url);
        std::hint::black_box(e[0].body().ok());
    }
    eprintln!("cold find+body {:?}", t.elapsed() / 10_000);
    let t = Instant::now();
    for n in 0..10_000 {
        let e = store.find(&mk(n).url);
        store.freshen(&e[0], mk(n));
    }
    eprintln!("freshen {:?}", t.elapsed() / 10_000);
    let t = Instant::now();
    store.list();
    eprintln!("list {:?}", t.elapsed());
    let t = Instant::now();
    store.verify();
    eprintln!("verify {:?}", t.elapsed());
    let t = Instant::now();
    store.purge_all();
    eprintln!("purge {:?}", t.elapsed());
}
