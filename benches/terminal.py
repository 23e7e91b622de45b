"""A program in a pseudo-terminal, and a screen model of what it shows."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time

NSH = os.environ.get("NSH", "target/release/nsh")
ROWS, COLUMNS = 24, 80


class Terminal:
    def __init__(self, argv, kind="xterm-256color"):
        self.home = tempfile.TemporaryDirectory()
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = {"PATH": os.environ["PATH"], "HOME": self.home.name, "TERM": kind}
            os.execvpe(argv[0], argv, environment)
        self.resize(ROWS, COLUMNS)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def read(self, seconds):
        """What comes within the time; nothing at the end."""
        ready, _, _ = select.select([self.fd], [], [], max(0, seconds))
        if not ready:
            return b""
        try:
            return os.read(self.fd, 65536)
        except OSError:
            return b""

    def read_until(self, text, seconds=10):
        seen, end = b"", time.perf_counter() + seconds
        while text.encode() not in seen:
            if time.perf_counter() > end:
                sys.exit(f"waited for {text!r}, got {seen[-500:]!r}")
            seen += self.read(end - time.perf_counter())
        return seen

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def figures(values, unit=1e3):
    shown = [percentile(values, share) * unit for share in (0.5, 0.95, 0.99)]
    return "p50 %.3f  p95 %.3f  p99 %.3f  max %.3f ms" % (*shown, max(values) * unit)
