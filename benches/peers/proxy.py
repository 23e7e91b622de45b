#!/usr/bin/env python3
"""nsh's proxy beside tinyproxy, privoxy, squid and trafficserver, and the direct way to the origin,
nginx. They share the cores with the origin and the client, so shares of the direct rate and the
CPU for a request say more than rates."""

import argparse
import collections
import contextlib
import itertools
import os
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
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from math import inf, nan
from pathlib import Path

from measure import goal, line, nsh, own_network, reached, shell

SIZES = {"1K": 1 << 10, "100K": 100 << 10, "100M": 100 << 20}
# How, a file, how many connections, and "new" if each request has its own. Goals for nsh: the
# least rate as a share of that one's, at least so many requests a second, at most of the others.
LOADS = {
    "hit-1K-64": {"direct": 1.0, "squid": 1.9, "trafficserver": 1.0, "p99": 1.5, "cpu": 10},
    "miss-1K-64": {"direct": 0.38, "squid": 1.8, "tinyproxy": 6},
    "miss-1K-500": {"p99": 25, "memory": 24},
    "miss-1K-64-new": {"direct": 0.75},
    "miss-100K-64": {"direct": 0.50},
    "miss-100M-1": {"direct": 0.55, "gigabyte": 0.25},
    "miss-100M-64": {"memory": 48},
    "tunnel-1K-64": {"rate": 11_000},
    "tunnel-100M-64": {"direct": 0.70},
}
UNITS = {"rate": "requests/s", "p99": "ms", "cpu": "CPU µs", "gigabyte": "s/GB", "memory": "MiB"}
ORIGIN, TUNNELLED = 8000, 443
IDLE, IDLE_TUNNELS, IDLE_TUNNEL_KIB = 10_000, 500, 16
REFUSED_MS, ERROR_PAGE, PATIENCE = 5, 5.0, 8
BLACK_HOLE = "10.9.0.9"  # like a host that is down
PROBLEMS = {"no host": BLACK_HOLE, "no name server": "www.example.com", "silence": "127.0.0.1:9"}

WRK = """
wrk.path = os.getenv("TARGET")
wrk.headers["Host"] = string.match(wrk.path, "//([^/]+)")
wrk.headers["Connection"] = os.getenv("NEW") == "new" and "close" or nil
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format("%d %d %d %d %d", summary.requests, summary.bytes, summary.duration,
        latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
# wrk knows no CONNECT. The same figures without delays: again and again, each thread sets up a
# tunnel, or without a proxy a connection, and reads from the origin until it closes.
TUNNELS = r"""
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 18 };
static struct sockaddr_in to = { AF_INET };
static char *connect_head, *get_head;
static long size;
static _Atomic long requests, octets, errors;

static void *client(void *piece) {
    for (;;) {
        long received = 0, got = 0;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (!connect(fd, (struct sockaddr *) &to, sizeof to) && (!*connect_head
            || (send(fd, connect_head, strlen(connect_head), MSG_NOSIGNAL) > 0
                && read(fd, piece, PIECE) > 12 && !strncmp(piece + 8, " 200", 4)))) {
            send(fd, get_head, strlen(get_head), MSG_NOSIGNAL);
            for (; (got = read(fd, piece, PIECE)) > 0; octets += got)
                received += got;
        }
        close(fd);
        ++*(got < 0 || received < size ? &errors : &requests);
    }
}

int main(int count, char **arguments) {
    to.sin_port = htons(atoi(arguments[1])), to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect_head = arguments[2], get_head = arguments[3], size = atol(arguments[4]);
    pthread_t thread;
    for (int i = 0; i < atoi(arguments[5]); i++)
        pthread_create(&thread, NULL, client, malloc(PIECE));
    sleep(atoi(arguments[6]));
    printf("%ld %ld %s000000 0 %ld\n", requests, octets, arguments[6], errors);
}
"""


def direct(server):
    server.port = ORIGIN
    server.configuration.write_text(f"""
        user root; daemon off; pid pid; error_log /dev/null; worker_processes 2;
        events {{ worker_connections 16000; }}
        http {{
            sendfile on; tcp_nopush on; open_file_cache max=1000; access_log off;
            uwsgi_temp_path 5; keepalive_requests 1000000000;
            client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; scgi_temp_path 4;
            add_header X-Request $connection-$connection_requests;
            add_header Cache-Control $control;
            server {{
                listen 127.0.0.1:{ORIGIN} reuseport backlog=4096;
                listen 127.0.0.1:{TUNNELLED} reuseport backlog=4096;
                location / {{ root {files}; set $control no-store; }}
                location /hit/ {{ alias {files}/; set $control max-age=86400; }}
            }}
        }}
    """)
    return ["nginx", "-e", "/dev/null", "-p", server.folder, "-c", server.configuration]


def tinyproxy(server):
    server.configuration.write_text(f"Port {server.port}\nListen 127.0.0.1\nMaxClients 16000\n"
                                    f'LogLevel Connect\nLogFile "{server.log}"\n')
    return ["tinyproxy", "-d", "-c", server.configuration]


def privoxy(server):
    server.configuration.write_text(f"""
confdir /etc/privoxy
logdir {server.folder}
logfile {server.log.name}
debug 512
listen-address 127.0.0.1:{server.port}
listen-backlog 4096
max-client-connections 16000
keep-alive-timeout 300
connection-sharing 1
""")
    return ["privoxy", "--no-daemon", server.configuration]


def squid(server):
    server.configuration.write_text(f"""
http_port 127.0.0.1:{server.port}
http_access allow all
visible_hostname localhost
{"" if server.keeps else "cache deny all"}
cache_mem 512 MB
maximum_object_size_in_memory 200 MB
access_log daemon:{server.log}
buffered_logs on
cache_log /dev/null
pid_filename none
pinger_enable off
max_filedescriptors 16384
""")
    return ["squid", "-N", "-n", "peer", "-f", server.configuration]


def trafficserver(server):
    records = (f"http.server_ports STRING {server.port}:ip-in=127.0.0.1",
               f"http.cache.http INT {int(server.keeps)}", "http.connect_ports STRING *",
               "exec_thread.autoconfig INT 0", "exec_thread.limit INT 2",
               "url_remap.remap_required INT 0", "admin.user_id STRING #-1",
               f"log.logfile_dir STRING {server.folder}")
    folders = "prefix", "sysconfdir", "localstatedir", "runtimedir", "logdir", "cachedir"
    for name, text in {
        "root.yaml": "".join(f"{name}: {server.folder}\n" for name in folders),
        "records.config": "".join(f"CONFIG proxy.config.{record}\n" for record in records),
        "storage.config": "cache 64M\n",
        "ip_allow.yaml": "ip_allow: [{apply: in, ip_addrs: 0/0, action: allow, methods: ALL}]",
        "logging.yaml": """{logging: {logs: [{filename: access, format: one, mode: ascii}],
            formats: [{name: one, format: '%<chi> [%<cqtn>] "%<cqtx>" %<pssc> %<pscl>'}]}}""",
    }.items():
        (server.folder / name).write_text(text)
    (server.folder / "cache").mkdir()
    return ["traffic_server", f"--run-root={server.folder}/root.yaml"]


def ours(server):
    cache = f"--cache {server.folder}/cache" if server.keeps else "--no-cache"
    return nsh(f"proxy -p {server.port} {cache} --log {server.log} "
               "--max-connections 16000")


PEERS = {"tinyproxy": tinyproxy, "privoxy": privoxy, "squid": squid, "trafficserver": trafficserver}
SERVERS = {"direct": direct, **PEERS, "nsh": ours}
PROGRAMS = "nginx", "wrk", "gcc", "tinyproxy", "privoxy", "squid", "traffic_server"


def target(name, keeps=False):
    return f"http://127.0.0.1:{ORIGIN}/{'hit/' if keeps else ''}{name}"


class Server:
    def __init__(self, name, keeps=False, wrapper=()):
        self.name, self.keeps, self.port = name, keeps, next(ports)
        self.folder = Path(tempfile.mkdtemp(prefix=name, dir=scratch))
        if name == "squid":  # It does not stay root.
            self.folder.chmod(0o777)
        self.log = self.folder / "access.log"
        self.configuration = self.folder / "configuration"
        argv = SERVERS[name](self)
        with open(self.folder / "output", "w+") as output:
            self.process = subprocess.Popen([*wrapper, *argv], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output, start_new_session=True)
            running.append(self)
            end = time.perf_counter() + 10
            while not self.answers():
                if self.process.poll() is not None or time.perf_counter() > end:
                    output.seek(0)
                    sys.exit(f"{name} does not answer: {output.read()}")
                time.sleep(0.01)

    def get(self, target, tunnel=False):
        """An answer, its body, and the connection, which may stay open."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        if tunnel:
            connection.set_tunnel("127.0.0.1", TUNNELLED)
        connection.request("GET", target)
        client = connection.sock
        answer = connection.getresponse()
        return answer, answer.read(), client

    def answers(self):
        with contextlib.suppress(OSError, HTTPException):
            answer, _, client = self.get(target("1K"))
            client.close()
            return answer.status == 200

    def keeps_to_it(self, name):
        """Whether it keeps the file, or does not, as it should."""
        numbers = []
        for _ in range(5):
            answer, body, client = self.get(target(name, self.keeps))
            client.close()
            assert body == (files / name).read_bytes(), f"{self.name}, {name}"
            numbers.append(answer.getheader("X-Request"))
            time.sleep(0.05)
        return (numbers[-1] == numbers[-2]) == self.keeps

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


def stop_all():
    while running:
        process = running.pop().process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for left in Path("/dev/shm").glob("peer-*.shm"):  # squid's
        left.unlink()


Load = collections.namedtuple("Load", "rate gigabytes cpu gigabyte memory p99 errors")


def measure(server, case):
    how, name, connections, *new = case.split("-")
    if how == "tunnel":
        connect = f"CONNECT 127.0.0.1:{TUNNELLED} HTTP/1.1\r\nHost: 127.0.0.1:{TUNNELLED}\r\n\r\n"
        get = f"GET /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        to = (TUNNELLED, "") if server.name == "direct" else (server.port, connect)
        argv = [folder / "tunnels", *to, get, SIZES[name], connections, options.seconds]
    else:
        argv = ["wrk", "-t1", f"-c{connections}", f"-d{options.seconds}s", "-s", folder / "wrk.lua",
                f"http://127.0.0.1:{server.port}"]
    environment = {**os.environ, "TARGET": target(name, how == "hit"), "NEW": "".join(new)}
    before, memory = server.used()
    with subprocess.Popen(map(str, argv), stdout=subprocess.PIPE, env=environment) as client:
        while client.poll() is None:
            memory = max(memory, server.used()[1])
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(0.2)
        output = client.stdout.read()
    cpu = server.used()[0] - before
    if server.log.exists():
        os.truncate(server.log, 0)
    requests, octets, duration, p99, errors = map(int, output.splitlines()[-1].split())
    assert octets, f"{server.name}, {case}: {output}"
    return Load(requests / duration * 1e6, octets / duration / 1e3,
                cpu / requests * 1e6 if requests else nan, cpu / octets * 1e9, memory,
                p99 / 1e3 or nan, errors)


def by_turns(servers, case):
    """The median of each figure of each server; they take turns, also in who is first."""
    taken = [[] for _ in servers]
    for number in range(options.repeats):
        for turn in range(len(servers)):
            which = (number + turn) % len(servers)
            taken[which].append(measure(servers[which], case))
    return [Load(*map(statistics.median, zip(*loads))) for loads in taken]


def load(case):
    how, name, *_ = case.split("-")
    able = [each for each in proxies if how != "hit" or each not in ("tinyproxy", "privoxy")]
    servers = [Server("direct"), *(Server(each, how == "hit") for each in able)]
    for server in servers[:] if how != "tunnel" else ():
        if not server.keeps_to_it(name):
            servers.remove(server)
            reached.extend([False] * len(LOADS[case]) if server.name == "nsh" else [])
            line(case, server.name, "keeps nothing" if server.keeps else "keeps what it must not")
    medians = dict(zip((server.name for server in servers), by_turns(servers, case)))
    # Whole long transfers are too few to count.
    figure = "gigabytes" if name == "100M" else "rate"

    def share(server, of):
        return getattr(medians[server], figure) / getattr(medians[of], figure)

    for server, each in medians.items():
        proxy = f"{each.cpu:10,.1f} {each.gigabyte:9.2f} {each.memory:8.1f}"
        line(case, server, f"{each.rate:10,.0f} {each.gigabytes:6.2f} "
                           f"{share(server, 'direct'):10.2f} "
                           f"{'' if server == 'direct' else proxy:29} "
                           f"{each.p99:9.2f} {each.errors:7.0f}")
    for what, wanted in LOADS[case].items() if "nsh" in medians else ():
        if what in medians:
            goal(f"of {what}", share("nsh", what), "≥", wanted)
        elif what in UNITS:
            measured = getattr(medians["nsh"], what)
            goal(UNITS[what], measured, "≥" if what == "rate" else "≤", wanted)


def idle(what, count, tunnel):
    """Clients that each got an answer and stay, and then 64 busy ones without tunnels."""
    for name in proxies:
        Server("direct")
        server = Server(name)
        before = server.used()[1]
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ended:
            with contextlib.suppress(OSError, HTTPException):
                for _ in range(count):
                    client = server.get("/1K" if tunnel else target("1K"), tunnel)[2]
                    ended.register(stack.enter_context(client), selectors.EVENT_READ)
            after = server.used()[1]
            [busy] = by_turns([server], "miss-1K-64")
            left = len(ended.get_map()) - len(ended.select(0))
        each = (after - before) * 1024 / count
        line(what, name, f"{left:,} of {count:,} left, memory {before:.1f} → {after:.1f} MiB, "
                         f"{each:.1f} KiB each;  64 more: {busy.rate:,.0f} requests/s, "
                         f"{busy.cpu:.1f} µs, p99 {busy.p99:.2f} ms, {busy.errors:.0f} errors")
        if name == "nsh":
            goal("idle ones left", left, "≥", count)
            goal("errors of the busy", busy.errors, "≤", 0)
            if tunnel:
                goal("KiB for each", each, "≤", IDLE_TUNNEL_KIB)
        stop_all()


def page(server, authority):
    """Seconds until an answer to a request for there, and its status."""
    started = time.perf_counter()
    to = "127.0.0.1", server.port
    with contextlib.suppress(OSError), socket.create_connection(to, timeout=PATIENCE) as client:
        client.sendall(f"GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        if status := client.recv(1000)[9:12].decode():
            return time.perf_counter() - started, status
    return inf, "none"


def errors():
    """How soon a proxy says that an origin cannot be reached."""
    (scratch / "resolv.conf").write_text(f"nameserver {BLACK_HOLE}\n")
    wrapper = ["unshare", "--mount", "sh", "-euc", 'mount --bind "$0" /etc/resolv.conf; exec "$@"',
               scratch / "resolv.conf"]
    Server("direct")
    servers = [Server(name, wrapper=wrapper) for name in proxies]
    shell(f"ip address add 10.0.0.1/32 dev lo; ip route add {BLACK_HOLE}/32 dev lo")
    # This one takes connections and never says anything.
    with socket.create_server(("127.0.0.1", 9)), ThreadPoolExecutor(len(servers) * 3) as pool:
        waiting = [[pool.submit(page, server, authority) for authority in PROBLEMS.values()]
                   for server in servers]
    for server, each in zip(servers, waiting):
        pages = [future.result() for future in each]
        refused = statistics.median(page(server, "127.0.0.1:1")[0] for _ in range(20)) * 1e3
        line("errors", server.name, f"refused {refused:.2f} ms, " + ", ".join(
            f"{problem} {seconds:.2f} s ({status})"
            for problem, (seconds, status) in zip(PROBLEMS, pages)))
        if server.name == "nsh":
            goal("ms when refused", refused, "≤", REFUSED_MS)
            goal("s in the worst case", max(pages)[0], "≤", ERROR_PAGE)


OTHERS = {"tunnels": lambda: idle("tunnels", IDLE_TUNNELS, True),
          "idle": lambda: idle("idle", IDLE, False), "errors": errors}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--only", action="append", choices=[*LOADS, *OTHERS])
parser.add_argument("--peers", metavar=",".join(PEERS), default=",".join(PEERS))
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--seconds", type=int, default=2)
options = parser.parse_args()
missing = [name.replace("_", "") for name in PROGRAMS if not shutil.which(name)]
if missing:
    # This keeps Debian from starting them as services.
    shell(f"RUNLEVEL=1 apt-get install -yqq --no-install-recommends {' '.join(missing)} >/dev/null")
own_network()
shell("echo 32000 65535 >/proc/sys/net/ipv4/ip_local_port_range")
proxies = [name for name in PEERS if name in options.peers.split(",")]
if subprocess.run(nsh("help proxy"), capture_output=True).returncode == 0:
    proxies.append("nsh")
else:
    print("nsh is left out: it has no proxy", flush=True)

running, ports = [], itertools.count(20_000)
for number in signal.SIGINT, signal.SIGTERM:
    signal.signal(number, lambda *_: sys.exit(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
with contextlib.ExitStack() as stack:
    folder, scratch = (Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place)))
                       for place in (None, "/dev/shm"))
    stack.callback(stop_all)
    scratch.chmod(0o755)
    (files := scratch / "files").mkdir()
    for name, size in SIZES.items():
        (files / name).write_bytes(os.urandom(size))
    (folder / "wrk.lua").write_text(WRK)
    subprocess.run(["gcc", "-O2", "-pthread", "-x", "c", "-", "-o", folder / "tunnels"],
                   check=True, input=TUNNELS, text=True)
    line("", "", "requests/s   GB/s  of direct     CPU µs  CPU s/GB      MiB    p99 ms  errors")
    for case in options.only or [*LOADS, *OTHERS]:
        OTHERS[case]() if case in OTHERS else load(case)
        stop_all()
if reached:
    print(f"{sum(reached)} of {len(reached)} goals reached")
