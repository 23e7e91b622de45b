//! Two machines: the proxy's, and that of its client. They are network namespaces, which needs
//! root, and are gone with the test.

use std::fs::File;
use std::io::Write;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

pub const PROXY: &str = "10.9.0.1";
pub const CLIENT: &str = "10.9.0.2";

/// The proxy's machine.
pub struct There {
    network: File,
}

impl There {
    /// Does something there: sockets and programs stay where they were made.
    pub fn with<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        apart(|| {
            setns(&self.network, CloneFlags::CLONE_NEWNET).expect("root");
            what()
        })
    }
}

/// Runs a test on the client's machine. The proxy's has these addresses, too.
pub fn from_afar(addresses: &[&str], test: impl FnOnce(&There) + Send) {
    apart(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        let network = File::open("/proc/thread-self/ns/net").expect("proc");
        let network = There { network };
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        let path = std::os::fd::AsRawFd::as_raw_fd(&network.network);
        let path = format!("/proc/{}/fd/{path}", std::process::id());
        ip(&format!(
            "link add near type veth peer name far netns {path}\n\
             address add {CLIENT}/24 dev near\nlink set near up\nlink set lo up\n"
        ));
        network.with(|| {
            let more = addresses.iter();
            let more: String = more
                .map(|address| format!("address add {address} dev lo\n"))
                .collect();
            ip(&format!(
                "address add {PROXY}/24 dev far\nlink set far up\nlink set lo up\n{more}"
            ));
        });
        test(&network);
    });
}

/// In a thread of its own, whose network may be another one.
fn apart<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    let ended = thread::scope(|scope| scope.spawn(what).join());
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

fn ip(lines: &str) {
    let mut ip = Command::new("ip");
    let ip = ip.args(["-batch", "-"]).stdin(Stdio::piped());
    let mut ip = ip.spawn().expect("iproute2");
    let mut stdin = ip.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(ip.wait().expect("ip ends").success(), "ip refused a line");
}
