//! The prompt in a real pseudo-terminal, looked at through a screen model.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::num::NonZeroU16;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use pty_process::Size;
use pty_process::blocking::{Command, Pty};

use super::support::{Place, Watchdog, matches, place};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;
/// No test waits this long unless what it waits for does not come.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Terminal {
    _watchdog: Watchdog,
    pty: Arc<Pty>,
    child: Child,
    shared: Arc<(Mutex<State>, Condvar)>,
    pub place: Place,
}

struct State {
    screen: vt100::Parser,
    octets: Vec<u8>,
    ended: bool,
}

fn size(rows: u16, columns: u16) -> (NonZeroU16, NonZeroU16) {
    let nonzero = |number| NonZeroU16::new(number).expect("not zero");
    (nonzero(rows), nonzero(columns))
}

impl Terminal {
    pub fn open() -> Terminal {
        Terminal::open_in(place(), "xterm-256color")
    }

    fn open_in(place: Place, kind: &str) -> Terminal {
        Terminal::open_with(place, kind, &[])
    }

    fn open_with(place: Place, kind: &str, variables: &[(&str, &str)]) -> Terminal {
        Terminal::run(place, kind, variables, &[])
    }

    fn run(place: Place, kind: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Terminal {
        let (pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
        pty.resize(Size::new(ROWS, COLUMNS)).expect("a size");
        let child = Command::new(env!("CARGO_BIN_EXE_nsh"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", place.path())
            .args(arguments)
            .env("TERM", kind)
            .envs(variables.iter().copied())
            .current_dir(place.path())
            .spawn(pts)
            .expect("nsh starts");
        let (rows, columns) = size(ROWS, COLUMNS);
        let state = State {
            screen: vt100::Parser::new(rows, columns, 10_000),
            octets: Vec::new(),
            ended: false,
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let pty = Arc::new(pty);
        let (reader, filled) = (Arc::clone(&pty), Arc::clone(&shared));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = (&*reader).read(&mut buffer).unwrap_or(0);
                let Ok(mut state) = filled.0.lock() else {
                    return;
                };
                state.screen.process(&buffer[..count]);
                state.octets.extend_from_slice(&buffer[..count]);
                state.ended = count == 0;
                filled.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Terminal {
            _watchdog: Watchdog::of(&child),
            pty,
            child,
            shared,
            place,
        }
    }

    pub fn type_keys(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("it reads");
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    fn wait(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let (lock, changed) = &*self.shared;
        let state = lock.lock().expect("no panic");
        let (state, timeout) = changed
            .wait_timeout_while(state, PATIENCE, |state| {
                !wanted(state.screen.screen()) && !state.ended
            })
            .expect("no panic");
        let contents = state.screen.screen().contents();
        let met = !timeout.timed_out() && wanted(state.screen.screen());
        assert!(met, "waited for {what}, the screen was:\n{contents}");
    }

    /// Waits for a row that fits the pattern.
    #[track_caller]
    pub fn see(&self, pattern: &str) {
        self.wait(pattern, |screen| {
            rows(screen).iter().any(|row| matches(pattern, row))
        });
    }

    /// Waits until the row of the cursor fits.
    #[track_caller]
    pub fn see_at_cursor(&self, pattern: &str) {
        self.wait(pattern, |screen| {
            let (row, _) = screen.cursor_position();
            matches(pattern, &rows(screen)[usize::from(row)])
        });
    }

    /// Waits for a text that may have left the screen again.
    #[track_caller]
    pub fn see_gone(&self, text: &str) {
        assert!(self.comes(text, PATIENCE), "waited for {text:?}");
    }

    /// Whether the text comes within the time.
    fn comes(&self, text: &str, within: Duration) -> bool {
        let (lock, changed) = &*self.shared;
        let state = lock.lock().expect("no panic");
        let has = |state: &State| String::from_utf8_lossy(&state.octets).contains(text);
        let (state, _) = changed
            .wait_timeout_while(state, within, |state| !has(state) && !state.ended)
            .expect("no panic");
        has(&state)
    }

    pub fn everything(&self) -> String {
        let state = self.shared.0.lock().expect("no panic");
        String::from_utf8_lossy(&state.octets).into_owned()
    }

    fn resize(&self, new_rows: u16, new_columns: u16) {
        let mut state = self.shared.0.lock().expect("no panic");
        let (rows, columns) = size(new_rows, new_columns);
        state.screen.set_size(rows, columns);
        drop(state);
        self.pty
            .resize(Size::new(new_rows, new_columns))
            .expect("a size");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("it runs");
    }

    pub fn end(&mut self) -> ExitStatus {
        let (lock, changed) = &*self.shared;
        let state = lock.lock().expect("no panic");
        let ended = changed.wait_timeout_while(state, PATIENCE, |state| !state.ended);
        drop(ended.expect("no panic"));
        self.child.wait().expect("it ends")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(screen: &vt100::Screen) -> Vec<String> {
    let (_, columns) = screen.size();
    screen
        .rows(0, columns.get())
        .map(|row| row.trim_end().to_owned())
        .collect()
}

#[test]
fn output_appears_above_the_line_being_typed() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("repeat -n 5 -d 30ms echo tick &\r");
    terminal.type_keys("echo half\u{1b}[D\u{1b}[D");
    terminal.see("[1] ended with status 0 after ...: repeat -n 5 -d 30ms echo tick");
    terminal.wait(
        "the half line below all ticks, the cursor inside it",
        |screen| {
            let rows = rows(screen);
            let (row, column) = screen.cursor_position();
            let ticks = rows.iter().filter(|row| *row == "[1] tick").count();
            ticks == 5 && rows[usize::from(row)] == "nsh[0]> echo half" && column == 15
        },
    );
    terminal.type_keys("X\r");
    terminal.see("haXlf");
}

#[test]
fn the_prompt_counts_running_jobs_while_a_line_is_typed() {
    let terminal = Terminal::open();
    terminal.type_keys("sleep 100 &\rsleep 100 &\r");
    terminal.see_at_cursor("nsh[2]>");
    // A job that ends when this test says so.
    let peer = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let port = peer.local_addr().expect("an address").port();
    terminal.type_keys(&format!("upper 127.0.0.1 {port} --udp -t 100 question &\r"));
    let (_, client) = peer.recv_from(&mut [0; 64]).expect("a question");
    terminal.type_keys("typed");
    terminal.see_at_cursor("nsh[3]> typed");
    peer.send_to(b"answer", client).expect("loopback");
    terminal.see_at_cursor("nsh[2]> typed");
}

#[test]
fn a_completion_list_and_a_search_survive_background_output() {
    let terminal = Terminal::open();
    terminal.type_keys("echo findme\r");
    terminal.see("findme");
    terminal.type_keys("repeat -n 8 -d 50ms echo tick &\r");
    terminal.type_keys("s\t\t");
    terminal.see("...sleep...");
    terminal.type_keys("top \u{7f}\u{7f}\u{7f}\u{7f}\u{7f}");
    terminal.type_keys("\u{12}findm");
    terminal.see_at_cursor("...findm...echo findme");
    terminal.type_keys("\u{5}");
    terminal.see_at_cursor("nsh[...]> echo findme");
    terminal.see("[1] ended with status 0 ...");
    terminal.type_keys("\u{15}logs 1 -n 3\r");
    terminal.see_at_cursor("nsh>");
    let lines = terminal.everything().matches("tick\r\n").count();
    assert!(
        lines >= 11,
        "8 from the job and 3 from its log, got {lines}"
    );
}

#[test]
fn completion_of_commands_options_and_jobs() {
    let terminal = Terminal::open();
    terminal.type_keys("pin\t");
    terminal.see_at_cursor("nsh> ping...");
    terminal.type_keys("--cou\t");
    terminal.see_at_cursor("nsh> ping --count...");
    terminal.type_keys("\u{3}");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("sleep 100 &\rstop sl\t");
    terminal.see_at_cursor("nsh[1]> stop sleep");
    terminal.type_keys("\r");
    terminal.see("[1] stopped after ...: sleep 100");
}

#[test]
fn an_unknown_command_is_red_before_enter_and_usage_is_hinted() {
    let terminal = Terminal::open();
    terminal.type_keys("zzz ");
    terminal.wait("a red zzz", |screen| {
        let (row, _) = screen.cursor_position();
        let red = vt100::Color::Idx(1);
        screen
            .cell(row, 5)
            .is_some_and(|cell| cell.fgcolor() == red)
    });
    terminal.type_keys("\u{15}ping ");
    terminal.see_at_cursor("nsh> ping [OPTIONS] [HOST]...");
}

#[test]
fn a_long_line_wraps_and_the_window_is_resized() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    let long = "abcdefghij".repeat(12);
    terminal.type_keys(&format!("echo {long}"));
    terminal.see_at_cursor("...ghij");
    terminal.resize(ROWS, 60);
    terminal.type_keys("END\r");
    terminal.see("...jEND");
    terminal.wait("the text in one piece", |screen| {
        screen
            .contents()
            .replace('\n', "")
            .contains(&format!("{long}ENDnsh>"))
    });
}

#[test]
fn pasted_lines_all_run() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("\u{1b}[200~echo one\necho two\necho three\u{1b}[201~\r");
    terminal.see("three");
    terminal.wait("each line's output", |screen| {
        let rows = rows(screen);
        ["one", "two", "three"]
            .iter()
            .all(|wanted| rows.iter().any(|row| row == wanted))
    });
    // Without bracketed paste: everything that arrives in one read.
    terminal.type_keys("echo four\recho five\recho six\r");
    terminal.see("six");
    terminal.see("four");
}

#[test]
fn a_line_goes_on_while_a_quote_is_open() {
    let terminal = Terminal::open();
    terminal.type_keys("echo 'a\rb' &&\recho c\r");
    terminal.see("b");
    terminal.see("c");
}

#[test]
fn ctrl_c_drops_the_line_and_ends_the_tool() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("echo never\u{3}");
    terminal.wait("a new prompt", |screen| {
        let (row, _) = screen.cursor_position();
        row == 1 && rows(screen)[1] == "nsh>"
    });
    terminal.type_keys("repeat -d 10ms echo tick; echo never\r");
    terminal.see("tick");
    terminal.type_keys("\u{3}");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("echo status $?\r");
    terminal.see("status 130");
    assert!(!terminal.everything().contains("\nnever"));
}

#[test]
fn ctrl_z_moves_a_tool_to_the_background_and_stops_nothing() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("\u{1a}");
    terminal.type_keys("repeat -d 30ms echo tick\r");
    terminal.see("tick");
    terminal.type_keys("\u{1a}");
    terminal.see_gone("[1] goes on in the background: repeat -d 30ms echo tick\r\n");
    terminal.see_gone("[1] tick\r\n");
    terminal.type_keys("fg\r");
    terminal.see_gone("\nrepeat -d 30ms echo tick\r\n");
    terminal.type_keys("\u{3}");
    terminal.see_at_cursor("nsh>");
}

/// By UDP, which everybody may send.
#[test]
fn a_live_table_is_refreshed_in_place_left_behind_and_ended_with_q() {
    let terminal = Terminal::open();
    let whole = |screen: &vt100::Screen| rows(screen).join("\n").trim_end().to_owned();
    let see = |pattern: &str| {
        terminal.wait(pattern, |screen| matches(pattern, &whole(screen)));
    };
    see("nsh>");
    terminal.type_keys("trace --live -n -i 0.1 -p udp 127.0.0.1\r");
    let head = "nsh> trace --live -n -i 0.1 -p udp 127.0.0.1\n    \
                127.0.0.1 (127.0.0.1)  Loss%  Snt   Last    Avg   Best   Wrst  StDev\n \
                1. 127.0.0.1               0.0%  ";
    let first = std::cell::OnceCell::new();
    terminal.wait("a table and then a later one in its place", |screen| {
        let table = whole(screen);
        let row = table.strip_prefix(head).filter(|row| !row.contains('\n'));
        let sent = row.and_then(|row| row.split_whitespace().next()?.parse::<u32>().ok());
        sent.is_some_and(|sent| sent > *first.get_or_init(|| sent))
    });
    terminal.type_keys("\u{1a}");
    let left = format!("{head}...\n[1] goes on in the background: trace ...\nnsh[1]>");
    see(&left);
    terminal.type_keys("echo still there\r");
    see(&format!("{left} echo still there\nstill there\nnsh[1]>"));
    terminal.type_keys("fg\r");
    let line = "trace --live -n -i 0.1 -p udp 127.0.0.1";
    let table = "127.0.0.1 (127.0.0.1)  Loss% ...\n 1. 127.0.0.1 ...";
    see(&format!("{left} echo ...\nnsh[1]> fg\n{line}\n    {table}"));
    terminal.type_keys("q");
    see(&format!(
        "{left} echo ...\nnsh[1]> fg\n{line}\n    {table}\nnsh>"
    ));
    // That is as it is meant; Ctrl-C is an interruption.
    for (rounds, key, status) in [(1000, "q", 0), (2000, "\u{3}", 130)] {
        terminal.type_keys(&format!("{line} -c {rounds}\r"));
        see(&format!("...-c {rounds}\n ...Loss% ...\n 1. ..."));
        terminal.type_keys(key);
        see(&format!("...-c {rounds}\n...\nnsh>"));
        terminal.type_keys("echo status $?\r");
        see(&format!("...\nstatus {status}\nnsh>"));
    }
}

#[test]
fn a_job_that_does_not_end_is_left_alone() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    // Opening a pipe that nobody writes to waits in the kernel, where no stop reaches it.
    let pipe = terminal.place.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("room on the disk");
    terminal.type_keys("source pipe &\r");
    terminal.see_at_cursor("nsh[1]>");
    terminal.type_keys("fg\r");
    terminal.see("source pipe");
    terminal.type_keys("\u{3}");
    // Two at once may arrive as one signal, so the second comes when the first had its time.
    let left_alone = "[1] does not end; left alone: source pipe";
    terminal.type_keys("\u{3}");
    while !terminal.comes(left_alone, Duration::from_millis(200)) {
        terminal.type_keys("\u{3}");
    }
    terminal.see_at_cursor("nsh[1]>");
    terminal.type_keys("stop 1\r");
    terminal.see("waiting for 1 to end");
    terminal.wait("the end of its patience", |screen| {
        let rows = rows(screen);
        let told = rows.iter().find_map(|row| {
            let rest = row.strip_prefix("[1] does not end, left alone after ")?;
            rest.strip_suffix(" s: source pipe")?.parse::<f64>().ok()
        });
        told.is_some_and(|seconds| seconds >= 2.0)
    });
    terminal.type_keys("jobs\r");
    terminal.see("[1]   stuck ... source pipe");
}

#[test]
fn what_is_typed_ahead_waits_for_the_prompt() {
    let terminal = Terminal::open();
    terminal.type_keys("sleep 0.3\r");
    terminal.type_keys("echo ahead\r");
    terminal.see("ahead");
    terminal.see("nsh> echo ahead");
}

#[test]
fn exit_asks_once_when_jobs_run() {
    let mut terminal = Terminal::open();
    terminal.type_keys("sleep 100 &\rexit\r");
    terminal.see("exit again, or 'exit --force', stops what runs and leaves");
    terminal.type_keys("jobs\rexit 3\r");
    terminal.wait("the question again", |screen| {
        screen.contents().matches("exit again").count() == 2
    });
    terminal.type_keys("exit 3\r");
    assert_eq!(terminal.end().code(), Some(3));
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let mut terminal = Terminal::open();
        terminal.type_keys("upper --server -p 0\r");
        terminal.see_at_cursor("nsh[1]>");
        terminal.type_keys("half a line");
        terminal.see_at_cursor("nsh[1]> half a line");
        terminal.signal(signal);
        assert_eq!(terminal.end().code(), Some(status));
        let flags = tcgetattr(&*terminal.pty).expect("a terminal").local_flags;
        let sane = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(flags.contains(sane), "{flags:?}");
        assert!(terminal.everything().ends_with("\u{1b}[?25h"));
        let state = terminal.shared.0.lock().expect("no panic");
        assert!(!state.screen.screen().bracketed_paste());
    }
}

#[test]
fn history_is_private_lasting_and_without_secrets() {
    use std::os::unix::fs::PermissionsExt;
    let mut terminal = Terminal::open();
    terminal.type_keys("echo kept\r echo spaced\rset TOKEN=hunter2\rexit\r");
    assert_eq!(terminal.end().code(), Some(0));
    let file = ".local/state/nsh/history";
    let text = terminal.place.read(file);
    assert_eq!(
        text.lines().skip(1).collect::<Vec<_>>(),
        ["echo kept", "exit"]
    );
    let mode = std::fs::metadata(terminal.place.path().join(file))
        .expect("the file")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let folder = std::mem::replace(&mut terminal.place, place());
    let terminal = Terminal::open_in(folder, "xterm");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("\u{1b}[A\u{1b}[A");
    terminal.see_at_cursor("nsh> echo kept");
}

#[test]
fn history_that_cannot_be_written_is_told_once() {
    let place = place();
    std::fs::create_dir_all(place.path().join(".local/state/nsh")).expect("room on the disk");
    let file = place.path().join(".local/state/nsh/history");
    std::fs::create_dir(file).expect("room on the disk");
    let terminal = Terminal::open_in(place, "xterm");
    terminal.type_keys("echo one\recho two\r");
    terminal.see("two");
    terminal.see("history is kept for this session only: ...");
    assert_eq!(
        terminal.everything().matches("this session only").count(),
        1
    );
}

#[test]
fn a_tool_asks_at_the_prompt_and_a_secret_is_not_shown() {
    let terminal = Terminal::open();
    terminal.type_keys("ask NAME 'who? '\r");
    terminal.see_at_cursor("who?");
    terminal.type_keys("anX\u{7f}n\r");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("echo hello $NAME\r");
    terminal.see("hello ann");
    terminal.type_keys("ask --secret KEY 'key? '\r");
    terminal.see_at_cursor("key?");
    terminal.type_keys("hunter2\r");
    terminal.see_at_cursor("nsh>");
    assert!(!terminal.everything().contains("hunter"));
    terminal.type_keys("echo got ${KEY:-nothing}\r");
    terminal.see("got hunter2");
}

#[test]
fn answers_typed_ahead_reach_who_asks() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("ask A\rone\rask --secret B\rtwo\recho $A $B\r");
    terminal.see("one two");
    assert_eq!(
        terminal.everything().matches("two").count(),
        1,
        "shown by echo only"
    );
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let mut terminal = Terminal::open_in(place(), "dumb");
    terminal.type_keys("echo plain 'a\nb'\n");
    terminal.see("...plain a");
    terminal.type_keys("repeat -d 10ms echo tick\n");
    terminal.see("tick");
    terminal.type_keys("\u{3}");
    terminal.type_keys("exit 5\n");
    assert_eq!(terminal.end().code(), Some(5));
    assert!(
        !terminal.everything().contains('\u{1b}'),
        "{:?}",
        terminal.everything()
    );
}

#[test]
fn the_prompt_lives_on_without_descriptors() {
    // A server takes four, so that they run out at each of its steps once.
    for limit in 61..=64 {
        lives_on_with(limit);
    }
}

fn lives_on_with(limit: u32) {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    let pid = Pid::from_raw(i32::try_from(terminal.child.id()).expect("a pid"));
    let limit = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string()])
        .arg(format!("--nofile={limit}:{limit}"))
        .status()
        .expect("prlimit of util-linux");
    assert!(limit.success());
    for _ in 0..14 {
        terminal.type_keys("upper --server -p 0\r");
    }
    terminal.see("...Too many open files");
    terminal.type_keys("echo still here\r");
    terminal.see("still here");
    terminal.type_keys("stop all\r");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("upper --server -p 0\r");
    terminal.see_at_cursor("nsh[1]>");
}

#[test]
fn the_prompt_lives_on_with_more_descriptors_than_select_can_take() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("upper --server -p 0 --tcp\r");
    terminal.see("[1] listening on 127.0.0.1:...");
    let text = terminal
        .shared
        .0
        .lock()
        .expect("no panic")
        .screen
        .screen()
        .contents();
    let after = text.split("listening on ").nth(1).expect("an address");
    let address = after.split(' ').next().expect("an address").to_owned();
    let clients: Vec<_> = (0..1200)
        .map(|_| std::net::TcpStream::connect(&address).expect("it serves"))
        .collect();
    for number in 0..3 {
        terminal.type_keys(&format!("echo alive {number}\r"));
        terminal.see(&format!("alive {number}"));
    }
    terminal.type_keys("repeat -d 50ms jobs\r");
    terminal.see("...| 1200 connections...");
    terminal.type_keys("\u{3}");
    terminal.type_keys("half");
    terminal.see_at_cursor("nsh[1]> half");
    drop(clients);
}

/// The text of a message is written in the editor that the person knows; until it has ended,
/// nobody else writes to the terminal.
#[test]
fn an_editor_has_the_terminal() {
    let place = place();
    place.write(
        "editor.sh",
        "#!/bin/sh\necho with \"$(cat \"$2\")\"\nread -r line < gate\n\
         echo \"Dear Bob, $line\" > \"$2\"\necho the editor ends\nexit \"$1\"\n",
    );
    let gate = place.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let terminal = Terminal::open_with(place, "xterm-256color", &[("EDITOR", "sh editor.sh 0")]);
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("upper --server -p 0 --udp -v\r");
    terminal.see("[1] listening on 127.0.0.1:...");
    let text = terminal.everything();
    let after = text.split("listening on ").nth(1).expect("an address");
    let address = after.split(' ').next().expect("an address");
    let mail = "mail --from a@b.c --to d@e.f --subject s --body Hi --edit --dry-run";
    terminal.type_keys(&format!("{mail}\r"));
    terminal.see("with Hi");
    let client = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let patience = Some(PATIENCE);
    client.set_read_timeout(patience).expect("a socket");
    client.send_to(b"meanwhile", address).expect("loopback");
    assert_eq!(client.recv(&mut [0; 99]).expect("an answer"), 9);
    std::fs::write(&gate, "the tests pass\n").expect("a reader");
    terminal.see("Dear Bob, the tests pass");
    terminal.see_at_cursor("nsh[1]>");
    terminal.see_gone("meanwhile");
    let text = terminal.everything();
    let place_of = |what: &str| text.find(what).expect(what);
    assert!(
        place_of("the editor ends") < place_of("meanwhile"),
        "{text}"
    );
}

/// Where there is no prompt, either.
#[test]
fn a_password_is_not_shown() {
    let line = "mail --server 127.0.0.1:1 --user ann --from a@b.c --to d@e.f --subject s --body x";
    let mut terminal = Terminal::run(place(), "xterm-256color", &[], &["-c", line]);
    terminal.see_at_cursor("password of ann at 127.0.0.1:");
    terminal.type_keys("s3cret\r");
    terminal.see("...connection refused...");
    let status = terminal.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(41));
    assert!(!terminal.everything().contains("s3cret"));
}

/// The end of the text is no answer to the question behind it.
#[test]
fn a_text_that_is_typed_without_a_prompt() {
    let line = "mail --server 127.0.0.1:1 --tls none --from a@b.c --to d@e.f --subject s";
    let mut terminal = Terminal::run(place(), "xterm-256color", &[], &["-c", line]);
    terminal.type_keys("typed with care\r\u{4}");
    terminal.see_at_cursor("send it? [Y/n]");
    terminal.type_keys("n\r");
    terminal.see("...the message is kept...");
    terminal.see("mail: not sent");
    assert_eq!(terminal.child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn an_editor_that_fails() {
    let place = place();
    let folder = place.path().to_string_lossy().into_owned();
    let variables = [("VISUAL", "false"), ("TMPDIR", &folder)];
    let terminal = Terminal::open_with(place, "xterm-256color", &variables);
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("mail --from a@b.c --to d@e.f --subject s --body Hi --edit --dry-run\r");
    terminal.see("mail: 'false' ended with status 1; give --body or --body-file");
    terminal.see_gone(".txt has the text");
    let entries = std::fs::read_dir(terminal.place.path()).expect("a folder");
    let kept = entries
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|end| end == "txt"));
    let text = std::fs::read_to_string(kept.expect("a text"));
    assert_eq!(text.expect("it can be read"), "Hi");
}

/// The senders as they are now, until `q`.
#[test]
fn a_live_table_of_heartbeats() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("udpping --monitor --live -p 0\r");
    terminal.see("no heartbeats yet");
    terminal.see("monitor on ...");
    let everything = terminal.everything();
    let (_, rest) = everything.split_once("monitor on ").expect("where");
    let (address, _) = rest.split_once(' ').expect("an address");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let from = sender.local_addr().expect("an address");
    sender.connect(address).expect("loopback");
    for number in [0, 1, 2, 4] {
        let line = format!("HEARTBEAT web1 1 {number} {number} 60000");
        sender.send(line.as_bytes()).expect("loopback");
    }
    sender.send(b"BYE web2 1 1 1 1").expect("loopback");
    sender.send(b"forged").expect("loopback");
    terminal.see("name  address ...  state ... received ...");
    terminal.see(&format!("web1  {from}  up ...4 ...20.0%..."));
    terminal.see("1 datagram was rejected");
    terminal.type_keys("q");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("echo status $?\r");
    terminal.see("status 0");
}
