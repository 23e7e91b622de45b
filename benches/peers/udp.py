#!/usr/bin/env python3
"""nsh's udpping beside irtt and its upper beside socat and ncat, and what both promise of clocks,
losses, loops and closed ports. They share the cores with the load and the peers, so ratios say more
than rates. Needs root."""

import argparse
import collections
import contextlib
import hmac
import itertools
import json
import os
import random
import resource
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

from measure import Run, by_turns, events, goal, line, nsh, own_network, reached, shell, the

IDLE, IDLE_MIB, SEEDS = 10_000, 20, 10
# The offset of the other clock, how much faster it runs, and after how many packets it is set.
CLOCKS = {"as ours": ("0", "0", "0"), "37 ms, 50 ppm": ("37000000", "50", "0"),
          "set by an hour": ("-250000000", "-20", "2000")}
# A server, what it answers, and how many datagrams one may cause between two of them.
LOOPS = {"udpping --reflector": (bytes(12) + b"\0\1" + bytes(30), 4),
         "udpping --server": (b"PING 1 10:00:00", 4),
         "upper --server --udp": (b"HELLO", 64)}
LISTEN = "bind=127.0.0.1,fork,reuseaddr,backlog=128"
# Connections, what is counted in so many octets, its name, and the peers with how many times as
# much nsh shall do.
LOADS = {
    "lines": (100, 64, "lines/s", {
        1.8: lambda port: ["socat", f"TCP-LISTEN:{port},{LISTEN}", "PIPE"],
        4: lambda port: ["ncat", "-lkm", "200", "127.0.0.1", port, "--sh-exec",
                         r"exec sed -u 's/[a-z]/\U&/g'"]}),
    "bulk": (1, 10**6, "MB/s", {
        2: lambda port: ["socat", f"TCP-LISTEN:{port},{LISTEN}", "SYSTEM:tr a-z A-Z"]}),
    "flood": (1, 64, "datagrams/s", {
        3: lambda port: ["socat", f"UDP-LISTEN:{port},bind=127.0.0.1,fork", "PIPE"]}),
}
# Senders, seconds between two heartbeats of each, how many get lost, and for how long.
HEARTBEATS = [(10_000, 1, 0, 12), (1_000, 0.1, 0.35, 40)]
STOPPING, FALSE_SHARE, KEY = 10, 0.01, b"a key of more than sixteen octets"


class Server:
    """A program in the background; what it prints goes to a file."""

    def __init__(self, argv, port=None):
        self.port, self.output = port, tempfile.TemporaryFile("w+", dir=folder)
        self.process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        running.append(self)
        end = time.perf_counter() + 10
        while port and not is_bound(port):
            if self.process.poll() is not None or time.perf_counter() > end:
                sys.exit(f"{argv} does not listen: {self.text()}")
            time.sleep(0.01)

    def text(self):
        self.output.seek(0)
        return self.output.read()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        return events(self.text())

    def cpu(self):
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory(self):
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize() / 2**20


def is_bound(port):
    tables = "/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"
    return any(f":{port:04X} 0000000" in Path(table).read_text() for table in tables)


def serve(command):
    port = next(ports)
    return Server(nsh(f"{command} -p {port}", "--json"), port)


def stop_all():
    while running:
        process = running.pop().process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ping(command):
    run = Run(nsh(f"udpping {command}", "--json"))
    return run, events(run.text)


def udp():
    """The counters of this network."""
    rows = Path("/proc/net/snmp").read_text().splitlines()
    names, values = (each.split()[1:] for each in rows if each.startswith("Udp: "))
    return dict(zip(names, map(int, values)))


Pace = collections.namedtuple("Pace", "rate missed late latest p50 cpu")


def pacing():
    ours, peer, pool = serve("udpping --server").port, next(ports), ThreadPoolExecutor(1)
    Server(["irtt", "server", "-b", f"127.0.0.1:{peer}", "-i", "0"], peer)

    def rate():
        """Seen from outside, in the middle of a run: of what arrives, half are replies."""
        time.sleep(0.5)
        began, before = time.perf_counter(), udp()["InDatagrams"]
        time.sleep(4)
        return (udp()["InDatagrams"] - before) / 2 / (time.perf_counter() - began)

    def nsh_pace():
        counted = pool.submit(rate)
        run, told = ping(f"-q -t 0.2 -i {interval}us -c {count} 127.0.0.1:{ours}")
        last = the("statistics", told)
        pacing, p50 = last["pacing"], last["p50_ms"] * 1e3
        return Pace(counted.result(), pacing["missed_slots"], pacing["late_avg_ms"] * 1e3,
                    pacing["late_max_ms"] * 1e3, p50, run.cpu / run.wall)

    def irtt_pace():
        counted = pool.submit(rate)
        run = Run(["irtt", "client", "-Q", "-i", f"{interval}us", "-d", f"{count * interval}us",
                   "--wait=50ms", "-o", "-", f"127.0.0.1:{peer}"])
        each = json.loads(run.text)["stats"]
        error, missed = each["timer_error"], count - each["packets_sent"]
        return Pace(counted.result(), missed, error["mean"] / 1e3, error["max"] / 1e3,
                    each["rtt"]["median"] / 1e3, run.cpu / run.wall)

    for interval, count in (1000, 10_000), (100, 50_000):
        medians = {name: Pace(*figures) for name, figures in
                   by_turns({"nsh": nsh_pace, "irtt": irtt_pace}, options.repeats).items()}
        for name, each in medians.items():
            line(f"-i {interval}us", name,
                 f"{each.rate:,.1f}/s, {each.missed:,.0f} of {count:,} slots missed, late by "
                 f"{each.late:.1f} µs (max {each.latest:,.0f}), p50 {each.p50:.1f} µs, "
                 f"{each.cpu:.2f} of a core")
        each, irtt = medians["nsh"], medians["irtt"]
        if interval == 1000:
            goal("slots missed", each.missed, "≤", 0)
            goal("µs of timer error", each.late, "≤", 30)
            goal("of irtt's RTT p50", each.p50 / irtt.p50, "≤", 0.65)
        else:
            goal("a second", each.rate, "≥", 9_990)
            goal("of a core", each.cpu, "≤", 0.5)


def clock():
    for what, (offset, ppm, after) in CLOCKS.items():
        port = next(ports)
        other = Server([folder / "load", "reflect", port, offset, ppm, after], port)
        # From the step on it has 4 s too.
        _, told = ping(f"--stamp -q -i 1ms -c {4000 + int(after)} 127.0.0.1:{port}")
        last = the("statistics", told)
        found, ended = last["clock"], datetime.fromisoformat(last["time"]).timestamp()
        drift = 1e6 if found["drift_ppm"] is None else found["drift_ppm"]
        drifted = float(ppm) * (ended - int(other.text()) / 1e9) / 1e3
        truth = int(offset) / 1e6 + drifted + (3_600_000 if after != "0" else 0)
        apart = abs(found["offset_ms"] - truth) * 1e3
        line("clock", what, f"{found['offset_ms']:.4f} ms ± {found['bound_ms'] * 1e3:.1f} µs, "
                            f"{drift:.3f} ppm, {found['steps']} steps; "
                            f"RTT {last['min_ms']:.3f} to {last['max_ms']:.3f} ms")
        goal("µs beyond the printed bound", apart - found["bound_ms"] * 1e3, "≤", 0)
        goal("ppm from the true drift", abs(drift - float(ppm)), "≤", 0.5, 3)
        goal("lost", last["lost"], "≤", 0)
        goal("ms of the longest RTT", last["max_ms"], "≤", 1000)
        stop_all()


def loss():
    """Requests and replies that the client takes as lost, beside what the server has lost."""
    for mode, stamp in ("--server", ""), ("--reflector", "--stamp"):
        wrong = total = undecided = 0
        for seed in range(1, SEEDS + 1):
            server = serve(f"udpping {mode} --loss 20% --reply-loss 15% --seed {seed}")
            _, told = ping(f"{stamp} -q -t 0.2 -i 1ms -c 1000 127.0.0.1:{server.port}")
            last, truth = the("statistics", told), the("server_statistics", server.stop())
            # A reflector is not asked after the last replies.
            ways, open_to = last["directions"], last["directions"]["undecided"]
            undecided, total = undecided + open_to, total + last["lost"]
            apart = [truth[each] - ways[each] for each in ("requests_lost", "replies_lost")]
            wrong += sum(apart) != open_to or not all(0 <= each <= open_to for each in apart)
            stop_all()
        line("loss", mode, f"{total:,} of {SEEDS * 1000:,} lost, {undecided} of them undecided")
        goal("runs that differ from the server", wrong, "≤", 0)
        if mode == "--server":
            goal("undecided", undecided, "≤", 0)


def loops():
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    for command, (payload, most) in LOOPS.items():
        other, target = serve(command).port, serve(command).port
        for what, source in ("two", other), ("itself", target):
            before = udp()
            header = struct.pack("!4H", source, target, 8 + len(payload), 0)
            raw.sendto(header + payload, ("127.0.0.1", 0))
            time.sleep(2)
            passed = udp()["InDatagrams"] - before["InDatagrams"]
            assert passed, f"{command} was not asked"
            line("loop", command, f"{passed} datagrams, {what}")
            goal("datagrams", passed, "≤", most)
        stop_all()


def dead():
    for interval in "10ms", "100us":
        before = udp()
        _, told = ping(f"-i {interval} -c 10 127.0.0.1:9")
        after = udp()
        explained = [event["after_ms"] for event in told if event["event"] == "refused"]
        line("dead port", f"-i {interval}", f"{len(explained)} explained, the last of them after "
                                            f"{max(explained, default=0):.3f} ms")
        goal("on the wire", after["OutDatagrams"] - before["OutDatagrams"], "≥", 10)
        goal("came to the closed port", after["NoPorts"] - before["NoPorts"], "≥", 10)
        goal("explained within 5 ms", sum(each <= 5 for each in explained), "≥", 10)


def upper(kind):
    connections, octets, unit, peers = LOADS[kind]

    def figure(server):
        run = Run([folder / "load", kind, str(server.port), str(options.seconds), str(connections)])
        if run.status:
            sys.exit(f"{server.process.args}: no answer, or a connection closed")
        return int(run.text) / options.seconds / octets

    servers, goals = {"nsh": serve("upper --server")}, {}
    for least, argv in peers.items():
        name, port = argv(0)[0], next(ports)
        servers[name], goals[name] = Server(argv(port), port), least
    medians = by_turns({name: partial(figure, server) for name, server in servers.items()},
                       options.repeats)
    for name, rate in medians.items():
        line(kind, name, f"{rate:,.0f} {unit}")
    for name, least in goals.items():
        goal(f"of {name}", medians["nsh"] / medians[name], "≥", least)


def idle():
    server = serve("upper --server --tcp")
    before = server.memory()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ended:
        for _ in range(IDLE):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=2)
            stack.enter_context(client).sendall(b"a line\n")
            assert client.recv(100) == b"A LINE\n"
            ended.register(client, selectors.EVENT_READ)
        left, after = IDLE - len(ended.select(0)), server.memory()
    line("idle", "nsh", f"{left:,} of {IDLE:,} left, memory {before:.1f} → {after:.1f} MiB")
    goal("connections left", left, "≥", IDLE)
    goal("MiB", after, "≤", IDLE_MIB)


def signed(sender, boot, number, interval, key=KEY):
    text = f"HEARTBEAT s{sender} {boot} {number} {time.time():.9f} {interval * 1000:.0f} ".encode()
    return text + hmac.digest(key, text, "sha256")[:16].hex().encode()


def heartbeats():
    (folder / "key").touch(0o600)
    (folder / "key").write_bytes(KEY)
    for case in HEARTBEATS:
        watch(serve(f"udpping --monitor --key-file {folder}/key"), *case)


def watch(monitor, senders, interval, share, seconds):
    dice, sent, false, lag, boot, before = random.Random(1), [], 0, 0, time.time_ns(), udp()
    generator = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    generator.connect(("127.0.0.1", monitor.port))
    start = time.perf_counter()
    for number, sender in itertools.product(range(int(seconds / interval)), range(senders)):
        due = (number + sender / senders) * interval
        while (wait := start + due - time.perf_counter()) > 0:
            time.sleep(wait)
        lag = max(lag, -wait)
        # That all become known is not what a day costs.
        if due == 2:
            measured, used = time.perf_counter(), monitor.cpu()
        if dice.random() < share or (sender < STOPPING and due > seconds / 2):
            continue
        sent.append(signed(sender, boot, number, interval))
        generator.send(sent[-1])
        # What was rejected is told once a second: one more in the end tells of the others.
        if due < seconds - 2 and dice.random() < FALSE_SHARE:
            false += 2
            generator.send(signed(sender, boot + 1, number, interval, KEY[::-1]))
            generator.send(dice.choice(sent))
    cpu = (monitor.cpu() - used) / (time.perf_counter() - measured)
    generator.send(b"a stranger's")
    time.sleep(0.05)
    told, dropped = monitor.stop(), udp()["RcvbufErrors"] - before["RcvbufErrors"]
    table = the("senders", told)["senders"]
    received, doubled, anew = (sum(each[figure] for each in table) for figure in
                               ("received", "duplicates", "restarts"))
    rejected = sum(each["untold"] + 1 for each in told if each["event"] == "rejected") - 1
    down = {event["name"] for event in told if event["event"] == "down"}
    stopped = {f"s{sender}" for sender in range(STOPPING)}
    line("heartbeats", f"{senders:,}, loss {share:.0%}",
         f"{len(sent) / seconds:,.0f}/s, {len(down & stopped)} of {STOPPING} that stop down; "
         f"{false:,} forged or replayed, {rejected:,} rejected, {doubled:,} seen before; "
         f"{dropped} dropped here, up to {lag * 1e3:.1f} ms late")
    goal("% of a core", cpu * 100, "≤", 10)
    goal("false 'down'", len(down - stopped), "≤", 0)
    goal("forged or replayed, and taken", anew + max(0, received - len(sent)), "≤", 0)
    known = received + rejected + doubled + dropped
    goal("not accounted for", abs(len(sent) + false - known), "≤", 0)
    if share:
        goal("that stop, 'down'", len(down & stopped), "≥", STOPPING)


def memory():
    port = serve("udpping --server").port
    client = Server(nsh(f"udpping -q -i 100us -c 0 127.0.0.1:{port}", "--json"))
    time.sleep(5)
    early = client.memory()
    time.sleep(15)
    late = client.memory()
    last = the("statistics", client.stop())
    line("memory", "nsh", f"{last['sent']:,} sent, after 5 s {early:.2f} MiB, after 20 {late:.2f}")
    goal("MiB more", late - early, "≤", 1)


CASES = {"pacing": pacing, "clock": clock, "loss": loss, "loops": loops, "dead": dead,
         **{kind: partial(upper, kind) for kind in LOADS},
         "idle": idle, "heartbeats": heartbeats, "memory": memory}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--only", action="append", choices=CASES)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--seconds", type=int, default=2)
options = parser.parse_args()
if missing := [name for name in ("irtt", "socat", "ncat", "gcc") if not shutil.which(name)]:
    # This keeps Debian from starting them as services.
    shell(f"RUNLEVEL=1 apt-get install -yqq --no-install-recommends {' '.join(missing)} >/dev/null")
own_network()

running, ports = [], itertools.count(20_000)
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: sys.exit(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
with contextlib.ExitStack() as stack:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(stop_all)
    subprocess.run(["gcc", "-O2", "-pthread", Path(__file__).with_suffix(".c"), "-o",
                    folder / "load"], check=True)
    for case in options.only or CASES:
        CASES[case]()
        stop_all()
print(f"{sum(reached)} of {len(reached)} goals reached")
