//! Scripts: files, stdin, and the golden ones that carry their expected output.

use std::path::Path;

use super::support::{Place, Ran, matches, place, privileged, skipped};

/// Runs each of `tests/scripts/*.nsh` and compares its output with its own comments:
/// `# out: LINE`, `# err: LINE` (with `...` for anything), `# status: N`, `# args: WORDS`.
#[test]
fn golden_scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut count = 0;
    for entry in folder.read_dir().expect("the scripts") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a script");
        if !text.contains("# out: ") && !text.contains("# err: ") {
            continue; // Sourced by others.
        }
        count += 1;
        check_golden(&folder, &path, &text);
    }
    assert!(count >= 4, "only {count} scripts found");
}

fn check_golden(folder: &Path, path: &Path, text: &str) {
    let comments = |mark: &str| -> Vec<String> {
        let marked = text.lines().filter_map(|line| line.strip_prefix(mark));
        marked.map(str::to_owned).collect()
    };
    let name = path.file_name().expect("a name").to_str().expect("UTF-8");
    let arguments = comments("# args: ").join(" ");
    let mut command = place().nsh();
    command
        .current_dir(folder)
        .arg(name)
        .args(arguments.split_whitespace());
    let output = command.output().expect("nsh starts");
    let lines = |octets: &[u8]| -> Vec<String> {
        let text = std::str::from_utf8(octets).expect("UTF-8 output");
        text.lines().map(str::to_owned).collect()
    };
    for (got, wanted) in [
        (lines(&output.stdout), comments("# out: ")),
        (lines(&output.stderr), comments("# err: ")),
    ] {
        let fits = got.len() == wanted.len()
            && wanted
                .iter()
                .zip(&got)
                .all(|(wanted, got)| matches(wanted, got));
        assert!(fits, "{name}: wanted {wanted:#?}, got {got:#?}");
    }
    let status = comments("# status: ")
        .first()
        .map_or(0, |text| text.parse().expect("a number"));
    assert_eq!(output.status.code(), Some(status), "{name}");
}

const PINGING: [&str; 3] = ["monitor.nsh", "network-apps.nsh", "report.nsh"];

/// The examples that the repository ships, as its users run them.
#[test]
fn shipped_scripts_check_themselves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Some systems let root alone ping.
    let may_ping = place().run(&["-c", "ping -c 1 127.0.0.1"]).status == 0
        || privileged("shipped_scripts_check_themselves");
    for entry in root.join("scripts").read_dir().expect("the scripts") {
        let path = entry.expect("an entry").path();
        if !may_ping && PINGING.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        for options in [&[][..], &["--json"]] {
            let output = place()
                .nsh()
                .current_dir(root)
                .args(options)
                .arg(&path)
                .output()
                .expect("nsh starts");
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {text}", path.display());
        }
    }
}

#[track_caller]
fn check(ran: &Ran, stdout: &str, stderr: &str, status: i32) {
    let fits = matches(stdout, &ran.stdout) && matches(stderr, &ran.stderr);
    assert!(fits && ran.status == status, "{ran:#?}");
}

#[test]
fn stdin_is_a_script_too() {
    let script = "echo a; echo \\\n  b\necho 'c\nd' &&\n echo e\npign\necho never\n";
    for arguments in [&[][..], &["-"], &["-", "x"]] {
        let ran = place().run_with_input(arguments, script);
        let stderr = "stdin:6:1: unknown command 'pign'...\nstdin:6:1: stopped here...";
        check(&ran, "a\nb\nc\nd\ne\n", stderr, 127);
    }
    check(&place().run_with_input(&[], "echo a"), "a\n", "", 0);
    check(
        &place().run_with_input(&[], "echo 'a"),
        "",
        "stdin:1:6: the quote ' is not closed\n",
        2,
    );
    let ran = place().run_with_input(&["-", "x", "y z"], "echo $2 $#");
    check(&ran, "y z 2\n", "", 0);
}

#[test]
fn a_script_asks_stdin() {
    let script = "ask NAME 'who? '\nann\necho hello $NAME\n";
    check(&place().run_with_input(&[], script), "hello ann\n", "", 0);
    let place = place();
    place.write("ask.nsh", "ask A\nask B\necho $A-$B\nask C\n");
    check(
        &place.run_with_input(&["ask.nsh"], "1\n2"),
        "1-2\n",
        "ask.nsh:4:1: stopped here...",
        1,
    );
}

#[test]
fn what_is_not_a_script_is_refused() {
    let place = place();
    place.write("nul.nsh", b"echo a\n\x7fELF\0");
    place.write("latin1.nsh", b"echo a\necho \xe9\n");
    place.write("long.nsh", vec![b'x'; 10 << 20]);
    place.write("odd.nsh", b"\xef\xbb\xbfecho bom\r\necho 'crlf'\r\n");
    let refused = |file: &str, stderr: &str| check(&place.run(&[file]), "", stderr, 2);
    refused(
        "nul.nsh",
        "nsh: nul.nsh:2: a NUL octet; this is not a script\n",
    );
    refused(
        "latin1.nsh",
        "nsh: latin1.nsh:2: not UTF-8; save the script as UTF-8\n",
    );
    refused(
        "long.nsh",
        "nsh: long.nsh:1: the line is longer than 1 MiB...",
    );
    refused(
        "missing.nsh",
        "nsh: cannot read script 'missing.nsh': No such file or directory\n",
    );
    refused(
        ".",
        "nsh: cannot read script '.': it is a directory; name a file in it\n",
    );
    check(&place.run(&["odd.nsh"]), "bom\ncrlf\n", "", 0);
    let ran = place.run_with_input(&[], b"echo a\n\xff\n");
    check(
        &ran,
        "a\n",
        "stdin:2: not UTF-8; save the script as UTF-8\n",
        2,
    );
}

#[test]
fn a_syntax_error_anywhere_runs_nothing() {
    let place = place();
    place.write("bad.nsh", "echo a\necho b\n  echo 'c\n");
    check(
        &place.run(&["bad.nsh"]),
        "",
        "bad.nsh:3:8: the quote ' is not closed\n",
        2,
    );
}

#[test]
fn sourcing_keeps_variables_and_tells_the_way() {
    let place = place();
    std::fs::create_dir(place.path().join("sub")).expect("room on the disk");
    place.write(
        "main.nsh",
        "set X=1\nsource sub/inner.nsh a b\necho $X $Y $#\n",
    );
    place.write("sub/inner.nsh", "set X=2 Y=$2\nsource beside.nsh\n");
    place.write("sub/beside.nsh", "echo beside $#\n");
    check(&place.run(&["main.nsh", "m"]), "beside 0\n2 b 1\n", "", 0);
    place.write("sub/beside.nsh", "\n  pign\n");
    let stderr = "sub/beside.nsh:2:3: unknown command 'pign' (did you mean 'ping'?)\n  \
                  sourced at sub/inner.nsh:2:1\n  sourced at main.nsh:2:1\n...";
    check(&place.run(&["main.nsh"]), "", stderr, 127);
}

#[test]
fn a_script_that_sources_itself_is_an_error() {
    let place = place();
    place.write("a.nsh", "source b.nsh");
    place.write("b.nsh", "source ./a.nsh");
    let stderr = "b.nsh:1:1: source: './a.nsh' is being run already...sourced at a.nsh:1:1\n...";
    check(&place.run(&["a.nsh"]), "", stderr, 2);
    for depth in 0..40 {
        place.write(
            &format!("d{depth}.nsh"),
            format!("source d{}.nsh", depth + 1),
        );
    }
    check(
        &place.run(&["d0.nsh"]),
        "",
        "...more than 32 scripts inside each other...",
        2,
    );
}

#[test]
fn a_shebang_line_works() {
    let place = place();
    place.write("x.nsh", "#!/usr/bin/env nsh\necho $0 $1 $#\n");
    check(
        &place.run(&["./x.nsh", "--opt", "b"]),
        "./x.nsh --opt 2\n",
        "",
        0,
    );
}

#[test]
fn the_rc_file_is_for_the_prompt_only() {
    let place: Place = place();
    std::fs::create_dir_all(place.path().join(".config/nsh")).expect("room on the disk");
    place.write(".config/nsh/nshrc", "echo from the rc file\n");
    check(&place.run(&["-c", "echo x"]), "x\n", "", 0);
}

#[test]
fn a_script_may_come_through_a_pipe_that_has_a_name() {
    let nsh = env!("CARGO_BIN_EXE_nsh");
    let script = format!("{nsh} <(echo echo hi)");
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .output();
    let Ok(output) = output else {
        return skipped("there is no bash to make such a pipe");
    };
    assert_eq!(
        output.stdout,
        b"hi\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_quote_that_is_never_closed_costs_little_and_ends() {
    let ran = place().run_with_input(&[], "echo '".to_owned() + &"x\n".repeat(600_000));
    check(&ran, "", "stdin:1:6: the quote ' is not closed\n", 2);
}
