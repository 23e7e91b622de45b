//! Running nsh and looking at what it did.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// A fresh folder to run in, which is also the home.
pub struct Place {
    pub folder: TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

pub fn place() -> Place {
    Place {
        folder: tempfile::tempdir().expect("a folder"),
    }
}

/// A TCP port of this address at which nothing listens. It never did, so that nobody is connected
/// by a copy of the descriptor in a process that another test starts at this moment.
pub fn unused_port(address: &str) -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket");
    let address: IpAddr = address.parse().expect("an address");
    let unbound = SocketAddr::new(address, 0);
    socket.bind(&unbound.into()).expect("loopback");
    let bound = socket.local_addr().expect("an address");
    bound.as_socket().expect("an address").port()
}

impl Place {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, octets: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), octets).expect("room on the disk");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect(name)
    }

    /// Makes `cert.pem` and `key.pem` for localhost.
    pub fn certify(&self) {
        self.openssl(
            "req -x509 -newkey KEY -nodes -days 2 -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem",
        );
    }

    /// What it prints. `KEY` stands for one that is made quickly.
    pub fn openssl(&self, arguments: &str) -> String {
        let arguments = arguments.replace("KEY", "ec -pkeyopt ec_paramgen_curve:P-256");
        let mut command = Command::new("openssl");
        command.args(arguments.split_ascii_whitespace());
        let made = command.current_dir(self.path()).output().expect("openssl");
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).expect("text")
    }

    /// The program in this place, with nothing of the environment but PATH.
    pub fn nsh(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nsh"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("TERM", "xterm")
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "")
    }

    pub fn run_with_input(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut child = self
            .nsh()
            .args(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsh starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // nsh may refuse the input before it has read it all.
        let _ = stdin.write_all(input.as_ref());
        drop(stdin);
        let _watchdog = Watchdog::of(&child);
        Ran::of(child.wait_with_output().expect("nsh ends"))
    }

    /// Starts nsh and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.nsh();
        command.args(arguments);
        Running::of(command)
    }
}

pub fn run(arguments: &[&str]) -> Ran {
    place().run(arguments)
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |octets: Vec<u8>| String::from_utf8(octets).expect("UTF-8 output");
        Ran {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            status: output.status.code().expect("an exit, no signal"),
        }
    }
}

/// A test that waits for something that never comes fails instead of hanging.
pub struct Watchdog(#[expect(dead_code, reason = "dropping it calls it off")] Sender<()>);

impl Watchdog {
    pub fn of(child: &Child) -> Watchdog {
        const PATIENCE: Duration = Duration::from_secs(60);
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let (called_off, wait) = channel();
        std::thread::spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Watchdog(called_off)
    }
}

/// A running nsh; it is killed if the test forgets it.
pub struct Running {
    _watchdog: Watchdog,
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub fn of(mut command: Command) -> Running {
        let mut child = command.spawn().expect("nsh starts");
        let stdout = child.stdout.take().expect("a pipe");
        Running {
            _watchdog: Watchdog::of(&child),
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    pub fn line(&mut self) -> String {
        self.lines
            .next()
            .expect("another line")
            .expect("UTF-8 output")
    }

    /// The next event with this name, as JSON.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.line()).expect("a JSON line");
            if event["event"] == name {
                return event;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("it runs");
    }

    /// Waits for its end; what it printed since, and its status.
    pub fn end(mut self) -> Ran {
        let mut stdout = String::new();
        for line in self.lines.by_ref() {
            stdout.push_str(&line.expect("UTF-8 output"));
            stdout.push('\n');
        }
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("a pipe");
        std::io::Read::read_to_string(&mut pipe, &mut stderr).expect("UTF-8 output");
        let status = self.child.wait().expect("it ends").code();
        Ran {
            stdout,
            stderr,
            status: status.expect("an exit, no signal"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `text` is `pattern`, in which `...` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len())
        .filter(|at| text.is_char_boundary(*at))
        .any(|at| matches(rest, &text[at..]))
}

/// Whether tests that need root may run. They say so when not, and fail where they must run.
pub fn privileged(test: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let demanded = std::env::var_os("NSH_TEST_PRIVILEGED").is_some();
    assert!(
        !demanded,
        "{test} needs root, and NSH_TEST_PRIVILEGED demands it"
    );
    skipped(&format!("{test} needs root"));
    false
}

/// Past the test runner, which keeps what passing tests print to itself.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}
