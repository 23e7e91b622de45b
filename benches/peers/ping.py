#!/usr/bin/env python3
"""nsh's ping beside iputils' ping and fping, and its times beside a packet capture. Needs root."""

import json
import re
import socket
import statistics
import struct

from measure import Run, alternate, nsh, own_network, row, shell

SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
REPLY, REQUEST = 0, 8


def loopback(count, interval):
    command = f"ping -c {count} -i {interval} 127.0.0.1"
    programs = {"nsh": nsh(command), "iputils": command.split()}

    def figures(run):
        times = [float(time) for time in re.findall(r"time=([0-9.]+) ms", run.text)]
        assert len(times) == count, f"{len(times)} of {count} replies"
        return statistics.median(times) * 1e3, run.cpu * 1e3

    medians = alternate(programs, 5, figures)
    for number, (what, form) in enumerate([("p50", "{:.1f} µs"), ("CPU", "{:.0f} ms")]):
        row(f"{count} round trips, -i {interval}, {what}",
            {name: each[number] for name, each in medians.items()}, form)


def tapped(tap):
    """Of each ICMP packet in the tap: outgoing or not, type, sequence number, nanoseconds."""
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
    # On lo the tap sees each packet twice: as it leaves (PACKET_OUTGOING, before the tap copies
    # it and the device takes it) and as it arrives. libpcap, and so tcpdump and Wireshark, leave
    # out what leaves by lo: their round trip is from the request's arrival to the reply's.
    # Only a tap for all protocols (3) is shown what leaves.
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(3))
    tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    tap.bind(("lo", 3))
    run = Run(nsh("ping -c 200 -i 0.005 127.0.0.1", "--json"))
    stamps = {}
    for outgoing, kind, sequence, stamp in tapped(tap):
        stamps.setdefault((outgoing, kind, sequence), stamp)
    apart, between = [], 0
    for event in map(json.loads, run.text.splitlines()):
        if event["event"] == "reply":
            number, taken = event["icmp_seq"], event["rtt_ms"] * 1e6
            replied = stamps[False, REPLY, number]
            longest = replied - stamps[True, REQUEST, number]
            shortest = replied - stamps[False, REQUEST, number]
            apart.append(abs(taken - shortest) / 1e3)
            between += shortest - 1 <= taken <= longest + 1
    apart.sort()
    assert len(apart) == 200, f"{len(apart)} of 200 replies"
    print(f"{'round trip, nsh and a capture':37} apart p50 {apart[100]:.2f}  p99 {apart[197]:.2f}  "
          f"max {apart[-1]:.2f} µs   ({between} of 200 between the request's two stamps)",
          flush=True)


def flood():
    programs = {
        "nsh": nsh("ping --flood -q -w 2 127.0.0.1"),
        "iputils": "ping -f -q -w 2 127.0.0.1".split(),
    }

    def rates(run):
        received = int(re.search(r"(\d+) received", run.text)[1])
        return received / run.wall, received / run.cpu

    medians = alternate(programs, 5, rates)
    for number, what in enumerate(["answers a second", "answers a second of CPU"]):
        row(f"flood on lo, {what}", {name: each[number] for name, each in medians.items()},
            "{:,.0f}")


def sweep():
    programs = {
        "nsh": nsh("ping 127.0.0.0/16"),
        "fping": "fping -i0 -r0 -g 127.0.0.0/16".split(),
    }
    quiet = {
        "nsh": nsh("ping -q 127.0.0.0/16"),
        "fping": "fping -q -i0 -r0 -g 127.0.0.0/16".split(),
    }
    # fping leaves out the first and the last address of a range.
    for name, expected in [("nsh", 65536), ("fping", 65534)]:
        found = len(re.findall("is alive", Run(programs[name]).text))
        if found != expected:
            print(f"  {name} found {found} of {expected} addresses")
    for what, compared in [("a line each", programs), ("quiet", quiet)]:
        medians = alternate(compared, 7, lambda run: (run.wall, run.cpu, run.memory), quiet=True)
        for number, (figure, form) in enumerate([("time", "{:.3f} s"), ("CPU", "{:.3f} s"),
                                                 ("memory", "{:.1f} MiB")]):
            row(f"65,536 addresses, {what}, {figure}",
                {name: each[number] for name, each in medians.items()}, form)
    run = Run(nsh("ping -q --large 127.0.0.0/12"))
    alive, = re.findall(r"(\d+) alive", run.text)
    print(f"{'1,048,576 addresses':37} nsh {run.wall:.2f} s, CPU {run.cpu:.2f} s, "
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
# Below 10 ms iputils does not sleep between requests.
loopback(500, 0.002)
loopback(100, 0.02)
capture()
flood()
sweep()
dead()
waiting()
