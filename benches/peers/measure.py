"""Runs of a program and of its peer by turns, in a network of their own, what they tell, and how
to print it beside the goals."""

import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from terminal import NSH  # noqa: E402

reached = []


def own_network():
    """Starts the script again in a fresh network namespace, where nothing else sends."""
    if os.geteuid() != 0:
        sys.exit("this needs root, for a network of its own")
    if os.environ.get("NSH_OWN_NETWORK") != "1":
        os.environ["NSH_OWN_NETWORK"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    shell("ip link set lo up")


def shell(script):
    subprocess.run(["sh", "-euc", script], check=True)


def nsh(command, *options):
    return [NSH, *options, "-c", command]


class Run:
    def __init__(self, argv, quiet=False):
        """Runs to the end; what it prints is kept as text, or with `quiet` thrown away."""
        output = subprocess.DEVNULL if quiet else subprocess.PIPE
        started = time.perf_counter()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.DEVNULL)
        self.text = "" if quiet else process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        self.wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        self.status = process.returncode
        self.cpu = usage.ru_utime + usage.ru_stime
        self.memory = usage.ru_maxrss / 1024


def by_turns(measures, times):
    """The median of each figure of each measure; they take turns, also in who is first."""
    taken = {name: [] for name in measures}
    for number in range(times):
        for name in sorted(measures, reverse=number % 2 == 0):
            taken[name].append(measures[name]())
    rows = {name: list(zip(*each)) if isinstance(each[0], tuple) else [each]
            for name, each in taken.items()}
    medians = {name: [statistics.median(row) for row in each] for name, each in rows.items()}
    return {name: each if len(each) > 1 else each[0] for name, each in medians.items()}


def alternate(programs, times, figure, quiet=False):
    """The median of `figure` of each program's runs."""
    return by_turns({name: lambda argv=argv: figure(Run(argv, quiet))
                     for name, argv in programs.items()}, times)


def events(text):
    return [json.loads(each) for each in text.splitlines() if each.startswith("{")]


def the(kind, told):
    found = [event for event in told if event["event"] == kind]
    return found[-1] if found else sys.exit(f"no {kind}: {str(told)[:1000]}")


def row(what, medians, form):
    """One line: each program's figure, and how nsh's relates to its peers'."""
    ours = medians["nsh"]
    shown = [f"{name} {form.format(value)}" for name, value in medians.items()]
    ratios = [f"{ours / value:.2f} of {name}" for name, value in medians.items()
              if not name.startswith("nsh") and value]
    print(f"{what:37} {'   '.join(shown)}   ({', '.join(ratios)})", flush=True)


def line(what, program, text):
    print(f"{what:15}{program:22}{text}", flush=True)


def goal(what, measured, sign, wanted, decimals=2):
    reached.append(measured >= wanted if sign == "≥" else measured <= wanted)
    line("", "  goal", f"{measured:10,.{decimals}f} {what:34} {sign} {wanted:9,.{decimals}f}  "
                       f"{'ok' if reached[-1] else 'missed'}")
