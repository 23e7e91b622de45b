"""nsh's STAMP packets as scapy reads and writes them, in both roles."""

import json
import socket
import subprocess
import sys
import time

from scapy.contrib.stamp import (
    STAMPSessionReflectorTestUnauthenticated as Reply,
    STAMPSessionSenderTestUnauthenticated as Request,
)

NSH, PACKETS, PATIENCE = sys.argv[1], 3, 10
SINCE_1900 = 2_208_988_800


def events(process):
    return (json.loads(line) for line in process.stdout)


def start(line):
    return subprocess.Popen([NSH, "--json", "-c", line], stdout=subprocess.PIPE, text=True)


def is_now(seconds):
    """scapy counts some timestamps from 1970 and some from 1900."""
    return any(abs(seconds - time.time() - origin) < PATIENCE for origin in (0, SINCE_1900))


def reflect(packet, number):
    return Reply(
        seq=number, ts=time.time(), ssid=packet.ssid, ts_rx=time.time(),
        seq_sender=packet.seq, ts_sender=packet.ts, err_estimate_sender=packet.err_estimate,
        ttl_sender=255,
    )


reflector = start("udpping --reflector -p 0")
host, port = next(events(reflector))["address"].split(":")
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.settimeout(PATIENCE)
for number in range(PACKETS):
    request = Request(seq=7 * number, ts=time.time(), ssid=513)
    sender.sendto(bytes(request), (host, int(port)))
    reply = Reply(sender.recv(2048))
    assert (reply.seq, reply.seq_sender, reply.ssid) == (number, 7 * number, 513), reply.show(dump=True)
    assert reply.ttl_sender == 64, reply.show(dump=True)
    received, sent = float(reply.ts_rx), float(reply.ts)
    assert received <= sent < received + PATIENCE and is_now(sent), (received, sent)
    assert bytes(reply)[28:36] == bytes(request)[4:12], "the sender's timestamp comes back"
reflector.terminate()

own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(("127.0.0.1", 0))
own.settimeout(PATIENCE)
client = start(f"udpping --stamp -c {PACKETS} -i 0.05 127.0.0.1:{own.getsockname()[1]}")
for number in range(PACKETS):
    octets, peer = own.recvfrom(2048)
    request = Request(octets)
    assert (len(octets), request.seq) == (44, number), request.show(dump=True)
    assert is_now(float(request.ts)), request.show(dump=True)
    own.sendto(bytes(reflect(request, number)), peer)
statistics = [event for event in events(client) if event["event"] == "statistics"]
assert [event["received"] for event in statistics] == [PACKETS], statistics
print("peers: scapy and nsh speak the same STAMP")
