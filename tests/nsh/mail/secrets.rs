//! A password like no other, looked for in whatever nsh shows, writes or is called with.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;

use super::server::{BYE, ENVELOPE, LETTER, Server};
use crate::prompt::Terminal;
use crate::support::{Place, Ran, Running, matches, place};

const CANARY: &str = "C4n/ry+of=the mine%7";

/// The ways to write the canary.
fn forms() -> Vec<String> {
    let hex: String = CANARY.bytes().map(|octet| format!("{octet:02x}")).collect();
    let url: String = CANARY
        .bytes()
        .map(|octet| match octet.is_ascii_alphanumeric() {
            true => char::from(octet).to_string(),
            false => format!("%{octet:02X}"),
        })
        .collect();
    let mut forms = vec![
        CANARY.to_owned(),
        hex.to_uppercase(),
        hex,
        url.to_lowercase(),
        url.replace("%20", "+"),
        url,
    ];
    // At whatever place it stands in what is encoded, without the characters that its neighbours
    // have a part in.
    for before in 0..3 {
        let encoded = STANDARD.encode(format!("{}{CANARY}", "\0".repeat(before)));
        let own = &encoded[(before * 4).div_ceil(3)..encoded.trim_end_matches('=').len() - 1];
        forms.push(own.to_owned());
        forms.push(own.replace('+', "-").replace('/', "_"));
    }
    forms
}

/// The ways in which a text has the canary in it.
fn traces(text: &str) -> Vec<String> {
    let forms = forms();
    // Half of it is half too much.
    let halves: Vec<String> = forms
        .iter()
        .map(|form| form[..form.len() / 2].to_owned())
        .collect();
    forms
        .into_iter()
        .chain(halves)
        .filter(|form| text.contains(form))
        .collect()
}

#[track_caller]
fn expect_none(what: &str, text: &str) {
    assert_eq!(traces(text), [""; 0], "{what}: {text}");
}

#[test]
fn the_search_finds() {
    for text in [
        CANARY.to_owned(),
        STANDARD.encode(format!("\0ann\0{CANARY}")),
        STANDARD.encode(format!("\0a\0{CANARY}")),
        STANDARD.encode(format!("a\0{CANARY}")),
        STANDARD.encode(CANARY),
    ] {
        assert!(!traces(&text).is_empty(), "{text}");
    }
    expect_none("nothing", "AUTH PLAIN ********");
}

fn script(dialogue: &str) -> String {
    format!("S: 220 hi\nC: EHLO c.test\nS: 250-mx.test\nS: 250 AUTH PLAIN LOGIN\n{dialogue}")
}

fn plain() -> String {
    let response = STANDARD.encode(format!("\0ann\0{CANARY}"));
    script(&format!("C: AUTH PLAIN {response}\n"))
}

fn line(server: &Server, options: &str) -> String {
    format!(
        "mail --server {} --tls none {LETTER} --user ann --insecure-auth {options}",
        server.address
    )
}

/// Searches all there is after a run with the password in the environment.
#[track_caller]
fn check(script: &str, options: &str, status: i32) {
    for global in ["", "--json"] {
        let server = Server::start(script);
        let place = place();
        let mut command = place.nsh();
        command.args(global.split_whitespace());
        command.args([
            "-c",
            &line(&server, &format!("--transcript talk {options}")),
        ]);
        command.env("NSH_MAIL_PASSWORD", CANARY);
        let ran = Running::of(command).end();
        let said = server.end();
        let (stdout, stderr) = (&ran.stdout, &ran.stderr);
        assert!(
            !traces(&said).is_empty(),
            "it was not sent: {said} {stdout} {stderr}"
        );
        assert_eq!(ran.status, status, "{stdout} {stderr}");
        expect_none("stdout", stdout);
        expect_none("stderr", stderr);
        expect_none("the transcript", &place.read("talk"));
        assert!(stdout.contains("********"), "{stdout}");
    }
}

#[test]
fn in_no_output() {
    check(
        &format!("{}S: 235 fine\n{ENVELOPE}S: 250 ok\n{BYE}", plain()),
        "",
        0,
    );
    check(&format!("{}S: 535 no\n{BYE}", plain()), "", 55);
    let login = script(&format!(
        "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {}\nS: 334 UGFzc3dvcmQ6\nC: {}\nS: 235 fine\n{ENVELOPE}",
        STANDARD.encode("ann"),
        STANDARD.encode(CANARY)
    ));
    check(&login, "--auth LOGIN", 49);
}

/// Servers that do not understand a command repeat it, and hostile ones whatever they know.
#[test]
fn in_no_reply_to_auth() {
    let response = STANDARD.encode(format!("\0ann\0{CANARY}"));
    let encoded = STANDARD.encode(CANARY);
    for echo in [
        format!("AUTH PLAIN {response}"),
        format!("password {CANARY} is wrong"),
        encoded,
        // As much as fitted into its buffer.
        response[..response.len() - 9].to_owned(),
    ] {
        check(&format!("{}S: 535 {echo}\n{BYE}", plain()), "", 55);
        check(
            &format!("{}S: 535-no\nS: 535 {echo}\n{BYE}", plain()),
            "",
            55,
        );
        check(&format!("{}S: 421 {echo}\n", plain()), "", 45);
        check(&format!("{}S: {echo}\nWAIT", plain()), "", 45);
    }
}

/// A server that knows it can repeat it at any time.
#[test]
fn in_no_reply_to_anything_else() {
    let response = STANDARD.encode(format!("\0ann\0{CANARY}"));
    let envelope =
        "C: MAIL ...\nS: 250 ECHO\nC: RCPT ...\nS: 250 ECHO\nC: DATA\nS: 354 ECHO\nBODY\n";
    for echo in [&*response, CANARY] {
        let hello = format!("{}S: 235 fine\n", plain());
        let told = |dialogue: &str| format!("{hello}{}", dialogue.replace("ECHO", echo));
        check(
            &told(&format!("{envelope}S: 250 ECHO\nC: QUIT\nS: 221 ECHO\n")),
            "",
            0,
        );
        check(
            &told(&format!("C: MAIL ...\nS: 550 who is ECHO\n{BYE}")),
            "",
            56,
        );
        check(&told("C: MAIL ...\nS: what is ECHO\nWAIT"), "", 46);
        check(&told(&format!("{envelope}S: 550 ECHO\n{BYE}")), "", 59);
        check(
            &told(&format!("{envelope}S: 250 queued as ECHO\n{BYE}")),
            "",
            0,
        );
    }
}

#[test]
fn in_no_form_in_a_reply() {
    let hello = format!("{}S: 235 fine\nC: MAIL ...\n", plain());
    for form in forms() {
        check(&format!("{hello}S: 550 who is {form} here\n{BYE}"), "", 56);
    }
    let (first, second) = CANARY.split_at(CANARY.len() / 2);
    let spread = format!("{hello}S: 550-who is {first}\nS: 550 {second}\n{BYE}");
    check(&spread, "", 56);
}

/// From each source, and what the server got was the password.
#[track_caller]
fn from(place: &Place, options: &str, command: impl FnOnce(&mut std::process::Command)) -> Ran {
    let server = Server::start(&format!("{}S: 235 fine\n{BYE}", plain()));
    let mut nsh = place.nsh();
    nsh.args([
        "-c",
        &line(&server, &format!("--stop-after auth {options}")),
    ]);
    command(&mut nsh);
    let ran = Running::of(nsh).end();
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.end()));
    expect_none("stdout", &ran.stdout);
    expect_none("stderr", &ran.stderr);
    assert_eq!(said.is_ok(), ran.status == 0, "{ran:#?}");
    ran
}

fn mode(place: &Place, name: &str, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(place.path().join(name), permissions).expect("a file");
}

#[track_caller]
fn expect_refusal(ran: &Ran, status: i32, pattern: &str) {
    assert_eq!((ran.status, &*ran.stdout), (status, ""), "{ran:#?}");
    assert!(matches(pattern, &ran.stderr), "{pattern}: {ran:#?}");
}

#[test]
fn sources() {
    let place = place();
    let nothing = |_: &mut std::process::Command| {};
    assert_eq!(
        from(&place, "", |nsh| _ = nsh.env("NSH_MAIL_PASSWORD", CANARY)).status,
        0
    );
    place.write("secret", format!("{CANARY}\nanother line\n"));
    mode(&place, "secret", 0o644);
    let ran = from(&place, "--password-file secret", nothing);
    expect_refusal(
        &ran,
        77,
        "...mail: others may read secret; 'chmod 600 secret' keeps the password a secret\n",
    );
    mode(&place, "secret", 0o600);
    assert_eq!(from(&place, "--password-file secret", nothing).status, 0);
    assert_eq!(
        from(&place, "--password-command 'head -1 secret'", nothing).status,
        0
    );
    // What is asked for comes before what happens to be there.
    let other = |nsh: &mut std::process::Command| _ = nsh.env("NSH_MAIL_PASSWORD", "other");
    assert_eq!(from(&place, "--password-file secret", other).status, 0);
    assert_eq!(
        from(&place, "--password-command 'cat secret'", other).status,
        0
    );
    for (options, pattern) in [
        (
            "--password-file none",
            "...cannot read none: No such file or directory\n",
        ),
        (
            "--password-file /dev/zero",
            "...cannot read /dev/zero: its first line is too long\n",
        ),
        (
            "--password-command 'exit 3'",
            "...--password-command: it ended with exit status: 3\n",
        ),
        (
            "--password-command 'cat secret; exit 1'",
            "...--password-command: it ended with exit status: 1\n",
        ),
        (
            "--password-command true",
            "...--password-command: it printed nothing\n",
        ),
        (
            "",
            "...no password; set NSH_MAIL_PASSWORD or give --password-file...\n",
        ),
    ] {
        let ran = from(&place, options, nothing);
        assert!(matches(pattern, &ran.stderr), "{options}: {ran:#?}");
        assert_ne!(ran.status, 0, "{options}: {ran:#?}");
    }
}

/// Nobody listens there; the password is found before anybody is asked.
fn unsent(command: &str) -> String {
    format!("mail --server 127.0.0.1:1 {LETTER} --user ann --password-command {command}")
}

/// What it has started holds the pipe open as long as it lives, and would write at its end.
#[test]
fn what_a_password_command_has_started_ends_with_the_mail() {
    let place = place();
    let pipe = place.path().join("lives");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("room on the disk");
    let line = unsent("'(sleep 30; echo survived) > lives & wait'");
    let nsh = place.start(&["-c", &line]);
    let mut lives = std::fs::File::open(&pipe).expect("it was started");
    nsh.signal(Signal::SIGINT);
    let mut said = String::new();
    lives.read_to_string(&mut said).expect("UTF-8");
    assert_eq!((said.as_str(), nsh.end().status), ("", 130));
}

/// At a real terminal: a command that wants to ask there fails, and is not stopped for ever.
#[test]
fn a_password_command_has_no_terminal() {
    let terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys(&format!("{}\r", unsent("'head -1 /dev/tty'")));
    terminal.see("...--password-command: it ended with exit status: 1...");
    terminal.see_at_cursor("nsh>");
}

#[test]
fn netrc() {
    let place = place();
    let nothing = |_: &mut std::process::Command| {};
    place.write(
        ".netrc",
        format!("macdef init\ndefault login ann password wrong\n\nmachine 127.0.0.1 login eve password other\nmachine 127.0.0.1\n  login ann\n  password \"{CANARY}\"\n"),
    );
    mode(&place, ".netrc", 0o640);
    let ran = from(&place, "", nothing);
    assert!(
        matches("...others may read ...netrc; 'chmod 600 ...", &ran.stderr),
        "{ran:#?}"
    );
    mode(&place, ".netrc", 0o600);
    assert_eq!(from(&place, "", nothing).status, 0);
    // An empty variable is none, as for the question.
    assert_eq!(
        from(&place, "", |nsh| _ = nsh.env("NSH_MAIL_PASSWORD", "")).status,
        0
    );
}

/// While it runs in the background, and afterwards.
#[test]
fn in_no_list_of_jobs_log_or_command_line() {
    let server = Server::start(&format!("{}S: 235 fine\nC: MAIL ...\nWAIT", plain()));
    let place = place();
    let mut command = place.nsh();
    command
        .env("NSH_MAIL_PASSWORD", CANARY)
        .stdin(Stdio::piped());
    let mut nsh = Running::of(command);
    let mut stdin = nsh.child.stdin.take().expect("a pipe");
    writeln!(stdin, "{} &", line(&server, "")).expect("it reads");
    let mut text = String::new();
    while !text.contains("> MAIL FROM") {
        text += &nsh.line();
        text.push('\n');
    }
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", nsh.child.id())).expect("it runs");
    expect_none("cmdline", &String::from_utf8_lossy(&cmdline));
    stdin
        .write_all(b"jobs\nlogs 1\nhistory\nstop 1\njobs\nlogs 1\nexit\n")
        .expect("it reads");
    drop(stdin);
    let ran = nsh.end();
    server.end();
    assert!(ran.stdout.contains("mail --server"), "{ran:#?}");
    expect_none("stdout", &format!("{text}{}", ran.stdout));
    expect_none("stderr", &ran.stderr);
}

#[test]
fn at_the_prompt_it_is_asked_for_unseen() {
    let server = Server::start(&format!(
        "{}S: 235 fine\n{ENVELOPE}S: 250 ok\n{BYE}",
        plain()
    ));
    let mut terminal = Terminal::open();
    terminal.see_at_cursor("nsh>");
    terminal.type_keys(&format!("{}\r", line(&server, "-q")));
    terminal.see_at_cursor("password of ann at 127.0.0.1:");
    terminal.type_keys(&format!("{CANARY}\r"));
    terminal.see("bob@b.test: accepted: ok");
    terminal.see_at_cursor("nsh>");
    terminal.type_keys("history\r");
    terminal.type_keys("exit\r");
    assert_eq!(terminal.end().code(), Some(0));
    server.end();
    expect_none("the screen", &terminal.everything());
    expect_none(
        "the history",
        &terminal.place.read(".local/state/nsh/history"),
    );
}
