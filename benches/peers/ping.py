#!/usr/bin/env python3
"""nsh's ping beside iputils' ping and fping, and its times beside a packet capture. Needs root."""

import json
import re
import socket
import statistics
import struct

from measure import Run, alternate, nsh, own_network, row, shell

SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35


def loopback():
    command = "ping -c 500 -i 0.002 127.0.0.1"
    programs = {"nsh": nsh(command), "iputils": command.split()}

    def p50(run):
        times = [float(time) for time in re.findall(r"time=([0-9.]+) ms", run.text)]
        assert len(times) == 500, f"{len(times)} of 500 replies"
        return statistics.median(times) * 1e3

    row("round trip on lo, p50", alternate(programs, 5, p50), "{:.1f} µs")


def tapped(tap):
    """What the tap has kept: (outgoing?, ICMP type, sequence number, nanoseconds) of each packet."""
    while True:
        try:
            packet, extra, _, (_, _, kind, *_) = tap.recvmsg(256, 256)
        except BlockingIOError:
            return
        seconds, nanoseconds = struct.unpack("qq", extra[0][2])
        if packet[14 + 9] == socket.IPPROTO_ICMP:
            sequence, = struct.unpack("!H", packet[14 + 26:14 + 28])
            outgoing = kind == socket.PACKET_OUTGOING
            yield outgoing, packet[14 + 20], sequence, seconds * 10**9 + nanoseconds


def capture():
    # On lo the tap sees each packet twice: as it leaves (PACKET_OUTGOING, stamped just before the
    # device takes it) and as it arrives (stamped where receive stamps for sockets are made).
    # Compared is the request's stamp as it leaves with the reply's stamp as it arrives.
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
    tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    tap.bind(("lo", 3))
    run = Run(nsh("ping -c 200 -i 0.005 127.0.0.1", "--json"))
    left, arrived = {}, {}
    for outgoing, kind, sequence, stamp in tapped(tap):
        if kind == 8 and outgoing:
            left.setdefault(sequence, stamp)
        elif kind == 0 and not outgoing:
            arrived.setdefault(sequence, stamp)
    events = map(json.loads, run.text.splitlines())
    times = {event["icmp_seq"]: event["rtt_ms"] * 1e6 for event in events
             if event["event"] == "reply"}
    assert len(times) == len(left) == len(arrived) == 200, (len(times), len(left), len(arrived))
    apart = [times[n] - (arrived[n] - left[n]) for n in times]
    sizes = sorted(abs(each) / 1e3 for each in apart)
    print(f"{'round trip, nsh and a capture':34} apart by p50 {statistics.median(sizes):.2f}  "
          f"p99 {sizes[197]:.2f}  max {sizes[-1]:.2f} µs "
          f"(nsh's is shorter in {sum(each < 0 for each in apart)} of 200)", flush=True)


def flood():
    programs = {
        "nsh": nsh("ping --flood -q -w 2 127.0.0.1"),
        "iputils": "ping -f -q -w 2 127.0.0.1".split(),
    }

    def rate(run):
        received, = re.findall(r"(\d+) received", run.text)
        return int(received) / run.wall

    row("flood on lo, answers a second", alternate(programs, 5, rate), "{:,.0f}")


def sweep():
    programs = {
        "nsh": nsh("ping 127.0.0.0/16"),
        "fping": "fping -i0 -r0 -g 127.0.0.0/16".split(),
    }
    # fping leaves out the first and the last address of a range.
    for name, expected in [("nsh", 65536), ("fping", 65534)]:
        found = len(re.findall("is alive", Run(programs[name]).text))
        if found != expected:
            print(f"  {name} found {found} of {expected} addresses")
    medians = alternate(programs, 5, lambda run: (run.wall, run.cpu, run.memory), quiet=True)
    for number, (what, form) in enumerate([("time", "{:.3f} s"), ("CPU", "{:.3f} s"),
                                           ("memory", "{:.1f} MiB")]):
        row(f"65,536 addresses, {what}", {name: each[number] for name, each in medians.items()},
            form)
    run = Run(nsh("ping -q --large 127.0.0.0/12"))
    alive, = re.findall(r"(\d+) alive", run.text)
    print(f"{'1,048,576 addresses':34} nsh {run.wall:.2f} s, CPU {run.cpu:.2f} s, "
          f"{run.memory:.1f} MiB, {int(alive):,} alive", flush=True)


def dead():
    # Behind a router that takes all and answers nothing.
    shell("""
        ip link add near type veth peer name far
        ip link set near up
        ip link set far up
        ip address add 10.9.0.1/16 dev near
        ip neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev near nud permanent
        ip route add 192.0.2.0/24 via 10.9.0.2
    """)
    programs = {
        "nsh": nsh("ping -q 192.0.2.0/24"),
        "fping": "fping -q -i0 -r1 -t500 -B1 -g 192.0.2.0/24".split(),
    }
    row("dead /24, 2 tries of 0.5 s", alternate(programs, 5, lambda run: run.wall), "{:.3f} s")


def waiting():
    command = "ping -q -i 5 -w 5 127.0.0.1"
    programs = {"nsh": nsh(command), "iputils": command.split()}
    row("CPU in 5 s of waiting", alternate(programs, 1, lambda run: run.cpu * 1e3), "{:.1f} ms")


own_network()
loopback()
capture()
flood()
sweep()
dead()
waiting()
