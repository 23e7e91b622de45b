#!/usr/bin/env python3
"""First prompt in a pseudo-terminal and the memory it takes, beside bash and fish; key to echo,
idle and under load."""

import os
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from terminal import NSH, Terminal, figures  # noqa: E402


def first_prompt(argv, prompt):
    terminal = Terminal(argv)
    terminal.read_until(prompt)
    taken = time.perf_counter() - terminal.started
    with open(f"/proc/{terminal.pid}/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    terminal.close()
    return taken, memory


def key_to_echo(jobs, keys=400):
    terminal = Terminal([NSH, "--norc"])
    terminal.read_until("nsh> ")
    for _ in range(jobs):
        terminal.type("repeat -d 800us echo some line of a job that prints a lot &\r")
        terminal.read_until("started: repeat")
    time.sleep(0.5)
    taken = []
    for number in range(keys):
        while terminal.read(0):
            pass
        # A letter that no job prints; how it looks is the editor's business.
        key = "QXZ"[number % 3]
        asked = time.perf_counter()
        terminal.type(key)
        terminal.read_until(key)
        taken.append(time.perf_counter() - asked)
        if number % 30 == 29:
            terminal.type("\x15")
        end = time.perf_counter() + 0.01
        while time.perf_counter() < end:
            terminal.read(end - time.perf_counter())
    terminal.type("\x15stop all; jobs\r")
    time.sleep(0.5)
    listed = terminal.read_until("nsh> ").decode(errors="replace")
    rates = [
        int(runs) / float(seconds)
        for seconds, runs in re.findall(r"\] +stopped +([0-9.]+) s .*?\| (\d+) runs", listed)
    ]
    terminal.close()
    return taken, sum(rates) / max(1, len(rates))


print("first prompt:")
shells = [("nsh", [NSH, "--norc"], "nsh> "), ("bash", ["bash", "--norc"], "$ ")]
if os.geteuid() == 0:
    shells[1] = ("bash", ["bash", "--norc"], "# ")
if shutil.which("fish"):
    shells.append(("fish", ["fish", "--no-config"], shells[1][2].replace("$", ">")))
runs = {name: [] for name, _, _ in shells}
for _ in range(30):
    for name, argv, prompt in shells:
        runs[name].append(first_prompt(argv, prompt))
for name, taken in runs.items():
    memory = max(kilobytes for _, kilobytes in taken) / 1024
    print(f"  {name:6} {figures([seconds for seconds, _ in taken])}  {memory:.1f} MiB resident")
print(f"size of the program: {os.path.getsize(NSH) / 1e6:.1f} MB")
print("key to echo:")
taken, _ = key_to_echo(0)
print(f"  idle                       {figures(taken)}")
taken, rate = key_to_echo(8)
print(f"  8 jobs, {rate:5.0f} lines/s each {figures(taken)}")
