#!/usr/bin/env python3
"""Types, completes, searches and resizes at random while 8 jobs print 50 lines/s each.

After each step the cursor's row must be the prompt and what was typed. At the end every line
must have been shown once, and each job's log must hold them. `stress.py SECONDS [SEED]`;
needs pyte.
"""

import random
import re
import sys
import time

import pyte
from terminal import NSH, ROWS, Terminal

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60
JOBS = 8
RING_LINES = 1000
random.seed(int(sys.argv[2]) if len(sys.argv) > 2 else 1)

terminal = Terminal([NSH, "--norc"])
columns = 80
screen = pyte.Screen(columns, ROWS)
stream = pyte.ByteStream(screen)
octets = bytearray()


def feed(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        got = terminal.read(end - time.perf_counter())
        octets.extend(got)
        stream.feed(got)


def settle():
    """Reads on to a pause, so that no screen is judged in the middle of being drawn."""
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        got = terminal.read(0.004)
        if not got:
            return
        octets.extend(got)
        stream.feed(got)


def at_cursor():
    return screen.display[screen.cursor.y].rstrip()


feed(0.3)
for number in range(1, JOBS + 1):
    terminal.type(f"repeat -d 20ms echo tick of the job number {number} &\r")
    feed(0.05)
typed, checked, garbled = "", 0, []
end = time.perf_counter() + SECONDS
while time.perf_counter() < end:
    action = random.randrange(12)
    resized = False
    if action < 6 and len(typed) < 60:
        key = random.choice("abcxyz 123")
        terminal.type(key)
        typed += key
    elif action < 8:
        terminal.type("\x7f")
        typed = typed[:-1]
    elif action == 8:
        terminal.type("\x15")
        typed = ""
    elif action == 9:
        terminal.type("\x15s\t\t")
        feed(0.2)
        terminal.type("\x7f")
        typed = ""
    elif action == 10:
        terminal.type("\x15\x12tick")
        feed(0.1)
        terminal.type("\x07\x15")
        typed = ""
    else:
        columns = random.choice([80, 100, 120])
        screen.resize(ROWS, columns)
        terminal.resize(ROWS, columns)
        resized = True
    feed(0.05)
    if action > 8 or resized:
        feed(0.15)  # The menu and what was behind it leave the screen.
        continue
    settle()
    checked += 1
    wanted = f"nsh[{JOBS}]> {typed}".rstrip()
    shown = at_cursor()
    # A hint may follow what was typed.
    if not shown.startswith(wanted) or shown.count("nsh[") != 1:
        garbled.append((wanted, shown))
terminal.type("\x15stop all\r")
feed(1.0)
printed = {number: len(re.findall(rb"\[%d\] tick of" % number, octets)) for number in range(1, JOBS + 1)}
missing = []
for number in range(1, JOBS + 1):
    before = len(octets)
    terminal.type(f"jobs; logs {number}\r")
    feed(0.5)
    answer = octets[before:]
    runs = int(re.search(rb"\[%d\] .*?\| (\d+) runs" % number, answer)[1])
    logged = answer.count(b"\ntick of the job number %d" % number)
    if logged != min(runs, RING_LINES) or printed[number] != runs:
        missing.append((number, runs, logged, printed[number]))
terminal.close()
print(f"{checked} screens looked at, {len(garbled)} garbled; {sum(printed.values())} lines printed")
for wanted, shown in garbled[:5]:
    print(f"  wanted {wanted!r}\n  showed {shown!r}")
for number, runs, logged, shown in missing:
    print(f"  job {number} printed {runs} lines, {logged} are in its log, {shown} were shown")
sys.exit(bool(garbled or missing))
