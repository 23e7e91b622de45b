#!/usr/bin/env python3
"""nsh's trace beside traceroute, over six routers, where the target is the seventh hop. Needs root,
iproute2, nft and setpriv."""

import json
import os
import shutil
import subprocess
import tempfile
import time

from measure import NSH, Run, alternate, nsh, own_network, row, shell

HOPS = 7
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups".split()


class Node:
    """A network namespace that lasts as long as its process, and that as long as this script."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.readline()
        self.pid = self.process.pid

    def shell(self, script):
        subprocess.run(["nsenter", "--net", "-t", str(self.pid), "sh", "-euc", script], check=True)


class Here:
    """The namespace of this script, which is the source."""

    pid = os.getpid()

    def shell(self, script):
        shell(script)


def limits(nodes, milliseconds, a_second, burst):
    for node in nodes:
        node.shell(f"""
            echo {milliseconds} >/proc/sys/net/ipv4/icmp_ratelimit
            echo {milliseconds} >/proc/sys/net/ipv6/icmp/ratelimit
            echo {a_second} >/proc/sys/net/ipv4/icmp_msgs_per_sec
            echo {burst} >/proc/sys/net/ipv4/icmp_msgs_burst
        """)


def chain():
    """The source, six routers and the target; link N is 10.9.N.0/24 and fd09:N::/64."""
    nodes = [Here()] + [Node() for _ in range(HOPS)]
    for node in nodes:
        node.shell("""
            ip link set lo up
            echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
            echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
            echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range
        """)
    limits(nodes, 0, 1000000, 1000000)
    for link in range(1, HOPS + 1):
        shell(f"ip link add ahead netns {nodes[link - 1].pid} type veth "
              f"peer name back netns {nodes[link].pid}")
        for node, name, end in [(nodes[link - 1], "ahead", 1), (nodes[link], "back", 2)]:
            node.shell(f"""
                ip address add 10.9.{link}.{end}/24 dev {name}
                ip address add fd09:{link}::{end}/64 dev {name} nodad
                ip link set {name} up
            """)
    for number, node in enumerate(nodes):
        if number < HOPS:
            node.shell(f"""
                ip route add default via 10.9.{number + 1}.2
                ip -6 route add default via fd09:{number + 1}::2
            """)
        if number > 1:
            node.shell(f"""
                ip route add 10.9.1.0/24 via 10.9.{number}.1
                ip -6 route add fd09:1::/64 via fd09:{number}::1
            """)
    return nodes


def address(hop, family):
    return f"10.9.{hop}.2" if family == 4 else f"fd09:{hop}::2"


def named(text, family):
    """How many of the hops a trace of nsh names, each with the address that it has."""
    addresses = set()
    for event in map(json.loads, text.splitlines()):
        if event["event"] == "hop":
            addresses |= {(event["hop"], reply["from"]) for reply in event["replies"]}
    return sum((hop, address(hop, family)) in addresses for hop in range(1, HOPS + 1))


def named_by_traceroute(text, family):
    lines = [line.split() for line in text.splitlines()[1:]]
    return sum([str(hop), True] == [line[0], address(hop, family) in line]
               for line in lines for hop in range(1, HOPS + 1))


def times():
    for family in 4, 6:
        target = address(HOPS, family)
        for protocol, option in [("udp", ""), ("icmp", "-I")]:
            programs = {
                "nsh": nsh(f"trace -n -q 1 -p {protocol} {target}"),
                "nsh -q 3": nsh(f"trace -n -p {protocol} {target}"),
                "traceroute": f"traceroute -n -q1 -N32 {option} {target}".split(),
            }
            figures = alternate(programs, 20, lambda run: run.wall * 1e3)
            row(f"7 hops, IPv{family}, {protocol}", figures, "{:.2f} ms")


def complete():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        program = shutil.copy(NSH, directory)
        for family in 4, 6:
            target = address(HOPS, family)
            for protocol in "icmp", "udp":
                for user, prefix in [("root", []), ("nobody", NOBODY)]:
                    argv = [*prefix, program, "--json", "-c", f"trace -n -p {protocol} {target}"]
                    counts = [named(Run(argv).text, family) for _ in range(100)]
                    print(f"{f'all hops named, IPv{family}, {protocol}, {user}':37} "
                          f"nsh {counts.count(HOPS)} of 100", flush=True)


def limited(nodes):
    # As Linux has it: one error a second to each address, six at once.
    limits(nodes, 1000, 1000, 50)
    for family in 4, 6:
        target = address(HOPS, family)
        # Half a minute is enough for traceroute, which waits 5 seconds each time.
        for name, argv, times, count in [
            ("nsh", nsh(f"trace -n {target}", "--json"), 10, named),
            ("traceroute", ["traceroute", "-n", target], 4, named_by_traceroute),
        ]:
            time.sleep(7)
            runs = [Run(argv) for _ in range(times)]
            counts = " ".join(str(count(run.text, family)) for run in runs)
            print(f"{f'limited routers, IPv{family}, {times} runs':37} {name} named {counts}, "
                  f"{sum(run.wall for run in runs) / times:.2f} s each", flush=True)
    limits(nodes, 0, 1000000, 1000000)


def silent(nodes):
    for node in nodes[2:7]:
        node.shell("""
            nft add table inet silent
            nft add chain inet silent out '{ type filter hook output priority 0; }'
            nft add rule inet silent out icmp type time-exceeded drop
            nft add rule inet silent out icmpv6 type time-exceeded drop
        """)
    for family in 4, 6:
        target = address(HOPS, family)
        programs = {
            "nsh": nsh(f"trace -n -q 1 {target}"),
            "nsh -q 3": nsh(f"trace -n {target}"),
            "traceroute": f"traceroute -n -q1 -N32 {target}".split(),
            "traceroute -q3": f"traceroute -n {target}".split(),
        }
        figures = alternate(programs, 3, lambda run: run.wall)
        row(f"five silent routers, IPv{family}", figures, "{:.3f} s")
    for node in nodes[2:7]:
        node.shell("nft delete table inet silent")


def swallowed(nodes):
    nodes[3].shell("ip route add blackhole 192.0.2.0/24")
    programs = {
        "nsh": nsh("trace -n 192.0.2.1"),
        "traceroute": ["traceroute", "-n", "192.0.2.1"],
    }
    row("no way after hop 2", alternate(programs, 1, lambda run: run.wall), "{:.2f} s")


own_network()
nodes = chain()
times()
complete()
limited(nodes)
silent(nodes)
swallowed(nodes)
