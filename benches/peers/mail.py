#!/usr/bin/env python3
"""nsh's mail beside curl, msmtp, swaks and Python's smtplib, all to one Postfix on loopback, which
shares the cores with them, and how much a greeting without end costs. All check the certificate by
the same authority; nsh believes the system's, too. Needs root."""

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from measure import Run, by_turns, events, goal, line, nsh, own_network, reached, row, shell, the

SERVERS = Path(__file__).resolve().parents[2] / ".ci/postfix"
# As it has them.
EXCHANGER, SUBMISSIONS, SUBMISSION, REFUSING = 10025, 10465, 10587, "127.0.0.2:10025"
USER, SENDER, RECIPIENT = "ann@lab.test", "ann@lab.test", "bob@lab.test"
LINES, BATCH = 30, 500
OF_SMTPLIB, ROUND_TRIPS, ENDLESS_MIB = 1.5, 6, 1
# How it is protected, the port, the mechanism, who can, the goals in ms and as a share of curl's
# time. With SCRAM most of it is the server's, and where TLS comes first most of curl's is a delayed
# acknowledgement, for which Postfix waits before it greets.
SESSIONS = {
    "implicit TLS": (SUBMISSIONS, "PLAIN", ("nsh", "curl", "msmtp", "swaks"), 20, 0.25),
    "STARTTLS": (SUBMISSION, "PLAIN", ("nsh", "curl", "msmtp", "swaks"), 20, None),
    "SCRAM-SHA-256": (SUBMISSIONS, "SCRAM-SHA-256", ("nsh", "msmtp"), None, None),
}
# Of TLS 1.3: the hello, and what the server says when the client has finished.
HANDSHAKE_ROUND_TRIPS = 2
# What a greeting begins with, and how it goes on.
ENDLESS = {"lines without end": (b"", b"220-mail.lab.test\r\n" * 4000),
           "a line without end": (b"220 ", b"mail.lab.test " * 4000)}


def written(name, text):
    """A file that only its owner may read, as the programs want it for passwords."""
    path = folder / name
    path.touch(0o600)
    path.write_text(text)
    return path


def letter(port, *options):
    return " ".join(["mail", "--server", f"localhost:{port}", "--from", SENDER,
                     "--subject", "Hello", "--body-file", str(folder / "body"), *options])


def session(port, mechanism):
    """The options of a session with TLS and AUTH."""
    return ["--to", RECIPIENT, "--tls", "implicit" if port == SUBMISSIONS else "starttls",
            "--ca", str(folder / "ca.crt"), "--user", USER,
            "--password-file", str(folder / "password"), "--auth", mechanism]


def programs(port, mechanism):
    """What each of them does; nsh shows the whole dialogue, as it does for people."""
    is_implicit = port == SUBMISSIONS
    ca, message = folder / "ca.crt", folder / "message"
    password = (folder / "password").read_text()
    quoted = password.replace("\\", r"\\").replace('"', r'\"')
    netrc = written("netrc", f'machine localhost login {USER} password "{quoted}"\n')
    msmtprc = written(f"msmtprc-{port}-{mechanism}", f"""
        account default
        host localhost
        port {port}
        tls on
        tls_starttls {"off" if is_implicit else "on"}
        tls_trust_file {ca}
        auth {mechanism.lower()}
        user {USER}
        password "{password}"
        from {SENDER}
    """)
    return {
        "nsh": nsh(letter(port, *session(port, mechanism))),
        "curl": ["curl", "-sS", "--ssl-reqd", "--cacert", ca, "--netrc-file", netrc,
                 "--login-options", f"AUTH={mechanism}", "--mail-from", SENDER,
                 "--mail-rcpt", RECIPIENT, "-T", message,
                 f"{'smtps' if is_implicit else 'smtp'}://localhost:{port}"],
        # It takes messages from its standard input only.
        "msmtp": ["sh", "-c", f"exec msmtp -C {msmtprc} {RECIPIENT} <{message}"],
        "swaks": ["swaks", "--server", f"localhost:{port}", "--tls-on-connect" if is_implicit
                  else "--tls", "--tls-verify", "--tls-ca-path", ca, "--auth", mechanism,
                  "--auth-user", USER, "--auth-password", password, "--from", SENDER,
                  "--to", RECIPIENT, "--data", message],
    }


def settle():
    """Until Postfix has delivered what it has: that is nobody's time."""
    end = time.perf_counter() + 60
    while any(each.is_file() for queue in ("incoming", "active")
              for each in (folder / "queue" / queue).rglob("*")):
        if time.perf_counter() > end:
            sys.exit("Postfix does not deliver")
        time.sleep(0.01)


def run(argv):
    settle()
    done = Run(list(map(str, argv)))
    if done.status:
        sys.exit(f"{argv} ends with {done.status}: {done.text}")
    return done


def process():
    for what, (port, mechanism, able, ms, share) in SESSIONS.items():
        commands = programs(port, mechanism)

        def figures(name):
            done = run(commands[name])
            return done.wall * 1e3, done.cpu * 1e3

        medians = by_turns({name: partial(figures, name) for name in able}, options.repeats)
        for number, figure in enumerate(("whole process", "processor time")):
            row(f"{what}, {figure}", {name: each[number] for name, each in medians.items()},
                "{:.1f} ms")
        whole = {name: each[0] for name, each in medians.items()}
        if ms:
            goal("ms", whole["nsh"], "≤", ms)
        if share:
            goal("of curl's", whole["nsh"] / whole["curl"], "≤", share)


def batch():
    recipients, message = [RECIPIENT] * BATCH, (folder / "message").read_bytes()
    list_of_them = written("recipients", "\n".join(recipients) + "\n")

    def ours():
        """The whole process."""
        done = run(nsh(letter(EXCHANGER, "--tls", "none", "-q", "--to-file", str(list_of_them)),
                       "--json"))
        accepted = [each for each in events(done.text) if each.get("result") == "accepted"]
        assert len(accepted) == BATCH, done.text[-1000:]
        return done.wall

    def smtplibs():
        """The session alone, without Python's start."""
        settle()
        started = time.perf_counter()
        with smtplib.SMTP("localhost", EXCHANGER) as client:
            for recipient in recipients:
                client.sendmail(SENDER, recipient, message)
        return time.perf_counter() - started

    medians = by_turns({"nsh": ours, "smtplib": smtplibs}, max(3, options.repeats // 6))
    row(f"{BATCH} messages, one connection", medians, "{:.2f} s")
    goal("of smtplib's", medians["nsh"] / medians["smtplib"], "≤", OF_SMTPLIB)


def relay(listener, port):
    """How often the server spoke after the client had, on one connection."""
    listener.settimeout(10)
    client, server = listener.accept()[0], socket.create_connection(("127.0.0.1", port))
    last, trips = server, 0
    with client, server, contextlib.suppress(ConnectionError):
        for each in client, server:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            for speaker in select.select([client, server], [], [])[0]:
                if not (octets := speaker.recv(1 << 16)):
                    return trips
                trips += speaker is server and last is client
                last = speaker
                (client if speaker is server else server).sendall(octets)
    return trips


def round_trips():
    for what, (port, mechanism, *_) in SESSIONS.items():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            between = listener.getsockname()[1]
            counted = pool.submit(relay, listener, port)
            told = events(run(nsh(letter(between, *session(port, mechanism)), "--json")).text)
            trips, own = counted.result(), the("sent", told)["round_trips"]
        line("round trips", what, f"{own} as nsh counts them; a relay sees {trips}, with those of "
                                  f"TLS, from the client's first octet to QUIT")
        goal("counted by nsh", own, "≤", ROUND_TRIPS)
        goal("seen by the relay beside TLS", trips - HANDSHAKE_ROUND_TRIPS, "≤", own)


def greet(listener, begin, rest):
    listener.settimeout(10)
    client = listener.accept()[0]
    with client, contextlib.suppress(OSError):
        client.sendall(begin)
        while True:
            client.sendall(rest)


def failing(server):
    """MiB at the peak of a session that fails, and why it did. What the kernel knows of ended
    processes includes Python, which forked them, so nsh stays."""
    command = f"mail --server {server} --tls none --from {SENDER} --to {RECIPIENT} --subject Hello "
    argv = nsh(command + "--body Hi || echo it failed && sleep 600", "--json")
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    try:
        told = []
        for each in process.stdout:
            if "it failed" in each:
                break
            told.append(json.loads(each))
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.kill()
        process.communicate()
    peak = next(each.split()[1] for each in status.splitlines() if each.startswith("VmHWM"))
    failures = [each.get("reason") or each.get("words") for each in told]
    return int(peak) / 1024, next(each for each in failures if each)


def endless(begin, rest):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        greeted = pool.submit(greet, listener, begin, rest)
        failed = failing(f"127.0.0.1:{listener.getsockname()[1]}")
        greeted.result()
    return failed


def memory():
    sessions = {"refused": partial(failing, REFUSING),
                **{what: partial(endless, *octets) for what, octets in ENDLESS.items()}}
    reasons = {}

    def peak(what):
        mib, reasons[what] = sessions[what]()
        return mib

    medians = by_turns({what: partial(peak, what) for what in sessions}, 11)
    for what, mib in medians.items():
        line("memory", what, f"{mib:.2f} MiB: {reasons[what]}")
    for what in ENDLESS:
        goal(f"MiB more for {what}", medians[what] - medians["refused"], "≤", ENDLESS_MIB)


CASES = {"process": process, "batch": batch, "round trips": round_trips, "memory": memory}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--only", action="append", choices=CASES)
parser.add_argument("--repeats", type=int, default=31)
options = parser.parse_args()
if missing := [name for name in ("curl", "msmtp", "swaks") if not shutil.which(name)]:
    shell(f"apt-get install -yqq --no-install-recommends {' '.join(missing)} >/dev/null")
shell(f"bash {SERVERS} install")
own_network()

# Whom to believe is said to each program, and to none by what somebody has set up here.
for name in "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE":
    os.environ.pop(name, None)
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: sys.exit(1))
with contextlib.ExitStack() as stack:
    # In memory, or the disk would be measured: Postfix waits for it with each message.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
    pool = stack.enter_context(ThreadPoolExecutor(1))
    stack.callback(shell, f"bash {SERVERS} down {folder}")
    shell(f"bash {SERVERS} up {folder}")
    text = "Each line of this message is as long as those that people write, or so.\n"
    written("body", text * LINES)
    message = run(nsh(letter(EXCHANGER, "--to", RECIPIENT, "--dry-run"))).text
    written("message", message)
    for case in options.only or CASES:
        CASES[case]()
print(f"{sum(reached)} of {len(reached)} goals reached")
