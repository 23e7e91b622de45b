#!/usr/bin/env python3
"""How long `stop` takes for jobs that wait in receive, accept, connect and sleep, and for 500
listeners at once, by the `stop_seconds` of nsh's own events."""

import json
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from terminal import NSH, figures  # noqa: E402

ROUNDS = 300


def stops(lines):
    """Runs the lines; the stop times and numbers of jobs in the events."""
    script = "\n".join(lines) + "\nexit\n"
    ran = subprocess.run([NSH, "--json", "-"], input=script, capture_output=True, text=True)
    events = [json.loads(line) for line in ran.stderr.splitlines()]
    found = [event for event in events if event["event"] == "stopped"]
    if not found or any(event["stuck"] for event in found):
        sys.exit(f"something did not stop: {ran.stderr[-2000:]}")
    return [event["stop_seconds"] for event in found]


silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.1", 0))
udp_port = silent.getsockname()[1]
# A listener whose queue is full: further connections wait for ever.
full = socket.socket()
full.bind(("127.0.0.1", 0))
full.listen(0)
tcp_port = full.getsockname()[1]
queued = []
for _ in range(3):
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", tcp_port))
    queued.append(client)
cases = {
    "receive": f"upper 127.0.0.1 {udp_port} --udp -t 100 x &",
    "accept": "upper --server -p 0 --tcp",
    "connect": f"upper 127.0.0.1 {tcp_port} -t 100 x &",
    "sleep": "sleep 100 &",
}
for name, start in cases.items():
    taken = stops([start, "sleep 2ms", "stop all"] * ROUNDS)
    assert len(taken) == ROUNDS, (name, len(taken))
    print(f"{name:8} {ROUNDS} stops: {figures(taken)}")
listeners = 500
for _ in range(3):
    taken = stops([f"repeat -n {listeners} upper --server -p 0 --tcp", "sleep 50ms", "stop upper"])
    print(f"{len(taken)} listeners stopped in {max(taken) * 1e3:.1f} ms")
