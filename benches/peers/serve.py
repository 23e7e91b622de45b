#!/usr/bin/env python3
"""nsh's web server beside nginx and lighttpd, each with its access log. They share the cores with
the client, wrk, so ratios and the CPU for a request say more than rates."""

import argparse
import collections
import contextlib
import os
import random
import resource
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from measure import nsh, shell

SIZES = {"100B": 100, "10K": 10 << 10, "1M": 1 << 20, "100M": 100 << 20}
# A file and how many connections. As shares of nginx's: the least rate that nsh shall have, and
# the most CPU for a request.
LOADS = {
    "100B-64": (1.25, 0.70),
    "100B-1000": (1.45, 0.70),
    "10K-64": (1.15, None),
    "10K-1000": (1.10, None),
    "100B-1": (1.35, 0.70),
    "1M-64": (1.80, None),
    "100M-1": (0.98, None),
}
IDLE, SLOW, STARTS = 10_000, 4_000, 20
REQUEST = b"GET /100B HTTP/1.1\r\nHost: localhost\r\n\r\n"
WHEN_DONE = """
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("%d %d %d %d %d", summary.requests, summary.bytes, summary.duration,
        latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def nginx(server):
    server.configuration.write_text(f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off;
        pid pid;
        error_log /dev/null;
        worker_processes 2;
        events {{ worker_connections 16000; }}
        http {{
            default_type application/octet-stream;
            sendfile on; tcp_nopush on;
            open_file_cache max=1000;
            keepalive_requests 1000000000;
            access_log {server.log} combined buffer=64k flush=1s;
            client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; uwsgi_temp_path 4;
            scgi_temp_path 5;
            root {files};
            server {{ listen 127.0.0.1:{server.port} reuseport backlog=4096; }}
        }}
    """)
    return ["nginx", "-e", "/dev/null", "-p", server.folder, "-c", server.configuration]


def lighttpd(server):
    # It counts no further than 65535 requests on a connection.
    server.configuration.write_text(f"""
        server.modules = ("mod_accesslog")
        server.bind = "127.0.0.1"
        server.port = {server.port}
        server.document-root = "{files}"
        server.errorlog = "/dev/null"
        accesslog.filename = "{server.log}"
        server.max-worker = 2
        server.network-backend = "sendfile"
        server.max-fds = 16384
        server.max-connections = 16000
        server.listen-backlog = 4096
        server.max-keep-alive-requests = 65535
        server.max-keep-alive-idle = 75
    """)
    return ["lighttpd", "-D", "-f", server.configuration]


SERVERS = {
    "nginx": nginx,
    "lighttpd": lighttpd,
    "nsh": lambda server: nsh(f"serve {files} -p {server.port} --log {server.log} "
                              "--max-connections 16000"),
}


class Server:
    def __init__(self, name):
        """Starts it; `delay` is how many seconds passed until it answered."""
        self.name = name
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=name, dir=scratch))
        self.log = self.folder / "access.log"
        self.configuration = self.folder / "configuration"
        argv = SERVERS[name](self)
        with open(self.folder / "output", "w+") as output:
            started = time.perf_counter()
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, start_new_session=True)
            running.append(self)
            while not self.answers():
                if self.process.poll() is not None or time.perf_counter() > started + 10:
                    output.seek(0)
                    sys.exit(f"{name} does not answer: {output.read()}")
                time.sleep(0.0001)
            self.delay = time.perf_counter() - started

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=2)

    def answers(self):
        with contextlib.suppress(OSError), self.connect() as client:
            client.sendall(REQUEST)
            return client.recv(1000).startswith(b"HTTP/1.1 200 ")

    def get(self, name):
        """A file's octets, and the connection, which stays open."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        connection.request("GET", f"/{name}")
        return connection.getresponse().read(), connection.sock

    def used(self):
        """Seconds of CPU and MiB of memory, of all its processes."""
        ticks = pages = 0
        for number in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:  # its session
                    ticks += int(fields[11]) + int(fields[12])
                    pages += int(fields[21])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * resource.getpagesize() / 2**20


def free_port():
    # Not one that the system gives to clients: it could take it first, or connect it to itself.
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def stop_all():
    while running:
        process = running.pop().process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


Load = collections.namedtuple("Load", "rate gigabytes cpu p99 errors")


def wrk(server, name, connections):
    before, _ = server.used()
    output = subprocess.run(["wrk", f"-t{min(2, connections)}", f"-c{connections}",
                             f"-d{options.seconds}s", "-s", scratch / "done.lua",
                             f"http://127.0.0.1:{server.port}/{name}"],
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    cpu = server.used()[0] - before
    os.truncate(server.log, 0)
    requests, octets, duration, p99, errors = map(int, output.splitlines()[-1].split())
    assert requests, output
    return Load(requests / duration * 1e6, octets / duration / 1e3, cpu / requests * 1e6,
                p99 / 1e3, errors)


def by_turns(servers, name, connections):
    """The median of each figure of each server; they take turns, also in who is first."""
    taken = [[] for _ in servers]
    for number in range(options.repeats):
        for turn in range(len(servers)):
            which = (number + turn) % len(servers)
            taken[which].append(wrk(servers[which], name, connections))
    return [Load(*map(statistics.median, zip(*loads))) for loads in taken]


def line(what, server, text):
    print(f"{what:11}{server:10}{text}", flush=True)


def loads(cases):
    servers = [Server(name) for name in options.only]
    line("", "", "requests/s   GB/s  of nginx    goal   CPU µs  of nginx    goal   p99 ms  errors")
    for case in cases:
        name, connections = case.split("-")
        for server in servers:
            assert server.get(name)[0] == (files / name).read_bytes(), f"{server.name}, {name}"
        medians = dict(zip(options.only, by_turns(servers, name, int(connections))))
        nginx = medians.get("nginx")
        for server, load in medians.items():
            rate = f"{load.rate / nginx.rate:.2f}" if nginx else ""
            cpu = f"{load.cpu / nginx.cpu:.2f}" if nginx else ""
            goals = [f"{sign} {goal:.2f}" if goal and server == "nsh" else ""
                     for sign, goal in zip("≥≤", LOADS[case])]
            line(case, server, f"{load.rate:10,.0f} {load.gigabytes:6.2f} {rate:>9} {goals[0]:>7} "
                               f"{load.cpu:8,.1f} {cpu:>9} {goals[1]:>7} {load.p99:8.2f} "
                               f"{load.errors:7.0f}")


def idle():
    """Connections that each got an answer and stay, and then 64 busy ones."""
    for name in options.only:
        # The second one has no idle connections.
        servers = Server(name), Server(name)
        before = servers[0].used()[1]
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ended:
            with contextlib.suppress(OSError, HTTPException):
                for _ in range(IDLE):
                    client = stack.enter_context(servers[0].get("100B")[1])
                    ended.register(client, selectors.EVENT_READ)
            after = servers[0].used()[1]
            beside, alone = by_turns(servers, "100B", 64)
            left = len(ended.get_map()) - len(ended.select(0))
        line("idle", name, f"{left:,} of {IDLE:,} left, memory {before:.1f} → {after:.1f} MiB")
        line("", "", f"64 more: {beside.rate:,.0f} requests/s, {beside.rate / alone.rate:.2f} of "
                     f"those without;  CPU {alone.cpu:.1f} → {beside.cpu:.1f} µs, "
                     f"p99 {alone.p99:.2f} → {beside.p99:.2f} ms")
        stop_all()


def slow():
    """Requests that get one more line each 5 seconds, and each 50 ms somebody else's."""
    for name in options.only:
        server = Server(name)
        ages, timeouts, probes, delays = [], 0, 0, []
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            for _ in range(SLOW):
                client = stack.enter_context(server.connect())
                client.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    client.send(REQUEST[:-2])
                selector.register(client, selectors.EVENT_READ, time.perf_counter())
            probe_at = time.perf_counter()
            line_at, end = probe_at + 5, probe_at + 15
            while selector.get_map() and (now := time.perf_counter()) < end:
                if now >= line_at:
                    line_at += 5
                    for key in selector.get_map().values():
                        with contextlib.suppress(ConnectionError):
                            key.fileobj.send(b"X-Slow: yes\r\n")
                if now >= probe_at:
                    probe_at = now + 0.05
                    probes += 1
                    started = time.perf_counter()
                    if server.answers():
                        delays.append((time.perf_counter() - started) * 1e3)
                for key, _ in selector.select(max(0, probe_at - time.perf_counter())):
                    try:
                        received = key.fileobj.recv(4096)
                    except ConnectionError:
                        received = b""
                    timeouts += received.startswith(b"HTTP/1.1 408 ")
                    if not received:
                        ages.append(time.perf_counter() - key.data)
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
        p99 = sorted(delays)[len(delays) * 99 // 100] if delays else float("nan")
        closed = f"{min(ages):.1f} to {max(ages):.1f} s old" if ages else "within 15 s"
        line("slow", name, f"{len(delays)} of {probes} others answered, p99 {p99:.2f} ms;  "
                           f"{len(ages):,} of {SLOW:,} closed {closed}, {timeouts:,} with 408")
        stop_all()


def first():
    delays = {name: [] for name in options.only}
    for _ in range(STARTS):
        for name in options.only:
            delays[name].append(Server(name).delay * 1e3)
            stop_all()
    for name, each in delays.items():
        line("first", name, f"answer {statistics.median(each):.2f} ms after the start "
                            f"({min(each):.2f} to {max(each):.2f})")


OTHERS = {"idle": idle, "slow": slow, "first": first}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--only", type=lambda names: names.split(","), default=list(SERVERS),
                    metavar=",".join(SERVERS))
parser.add_argument("--case", action="append", choices=[*LOADS, *OTHERS])
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--seconds", type=int, default=2)
options = parser.parse_args()
cases = options.case or [*LOADS, *OTHERS]
missing = [name for name in ("nginx", "lighttpd", "wrk") if not shutil.which(name)]
if missing:
    shell(f"apt-get install -y -qq --no-install-recommends {' '.join(missing)} >/dev/null")

running = []
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: sys.exit(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
    stack.callback(stop_all)
    scratch, files = Path(folder), Path(folder, "files")
    files.mkdir()
    for name, size in SIZES.items():
        (files / name).write_bytes(os.urandom(size))
    (scratch / "done.lua").write_text(WHEN_DONE)
    if chosen := [case for case in LOADS if case in cases]:
        loads(chosen)
        stop_all()
    for case, function in OTHERS.items():
        if case in cases:
            function()
