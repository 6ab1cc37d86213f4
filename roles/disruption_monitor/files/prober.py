# Copyright (c) 2026, the netops.cni_migration authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure, many times a second, whether a cluster's paths answer, and write down every moment in which one does not.

Usage: prober.py pod|host|target CONFIG.json, with NODE_NAME, HOST_IP and POD_IP in the environment.

``target`` only answers; it is the pod that the others probe. ``pod`` and ``host`` probe, from a pod of their own and from the
node's network. ``host`` also hands out this node's logs and tells where this node's target is. One thread, one epoll, few system
calls: a monitor that needs the processor slows down what it watches. The log's format is described in the role's README.md.
"""

from __future__ import annotations

import _thread
import errno
import gc
import json
import math
import os
import select
import signal
import socket
import ssl
import struct
import sys
import time
import zlib
from bisect import bisect_left
from collections import deque
from time import monotonic
from typing import Any, Callable

FORMAT = 1
# Linux repeats a lost SYN after one second: below this such a probe would be called lost, but it is only late.
TIMEOUT = 2.0
LATE = 0.25
STALL = 0.02
POLL = 0.1
"""How often a target looks for requests. It is not woken by each: that would cost more than all of its answers. An answer says how long
the request lay there, and that is taken off. The acknowledgement of a ping, which a kernel may put off for 200 ms, goes out at the latest then."""
SHARED_SERVERS_NODES = 10
"""Up to so many nodes DNS and the API server are probed at the full rhythm; beyond, they see no more probes than then."""
# Upper bounds of the latency histogram in milliseconds, each a quarter above the one before; the last bucket is open.
BOUNDS = [0.05 * 1.25**power for power in range(48)]
# The roads to a target, each with ports of its own. Two connections of one client that come by different roads may have the same
# port at its end; to one port of the target they would be the same connection, and the node's translation would drop one.
ROADS, PORTS = ("cluster-ip", "node-port", "own-node-port", "pod"), 2
SEGMENT_BYTES = 16 << 20
FOLDER_BYTES = 256 << 20
ANSWER_BYTES = 4 << 20
# What the kernel of the target answers is enough nineteen times of twenty; the twentieth probe is a request to its process.
REQUEST_EVERY = 20
# Over a kept connection, requests and answers are larger than any packet: a path that loses only these would look healthy otherwise.
PING, REQUEST = b".", b"?" * 4096
ANSWER = struct.Struct(">QI")
DNS_PORT = 53
GREETING = b"cni-monitor "
# The class of C itself, and plain integers: a probe lives for microseconds, and Python's own layer above them takes some of these.
Socket = socket.SocketType
AF_INET, SOL_SOCKET, IPPROTO_TCP, TCP_INFO = int(socket.AF_INET), int(socket.SOL_SOCKET), int(socket.IPPROTO_TCP), int(socket.TCP_INFO)
EINPROGRESS, SO_LINGER = errno.EINPROGRESS, int(socket.SO_LINGER)
STREAM, DATAGRAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK), int(socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
SO_TIMESTAMPNS = 35  # not in Python's socket module
TIMESPEC = struct.Struct("@ll")
ANCILLARY_BYTES = socket.CMSG_SPACE(TIMESPEC.size)
# From linux/tcp.h: two of tcp_info's states, and tcpi_last_ack_recv (milliseconds ago), tcpi_rtt (microseconds),
# tcpi_total_retrans, tcpi_bytes_acked.
TCP_SYN_SENT, TCP_CLOSE = 2, 7
TCP_FIGURES, TCP_FIGURES_AT, TCP_INFO_BYTES = struct.Struct("@I8xI28xI16xQ"), 56, 128
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: kubernetes\r\nUser-Agent: cni-monitor\r\n\r\n"
ERRORS = {
    errno.ECONNABORTED: "aborted",
    errno.EDESTADDRREQ: "aborted",  # a datagram socket that somebody ended leads nowhere any more, which is all that the next to send is told
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ETIMEDOUT: "timeout",
}


def error_name(number: int | None) -> str:
    """A word for an error number that says what the network did."""
    return ERRORS.get(number or 0) or errno.errorcode.get(number or 0, "error")


class Clock:
    """Wall time by the monotonic clock, as the two stood when the loop last woke."""

    def __init__(self) -> None:
        self.adjust()

    def adjust(self) -> None:
        """Follow the wall clock."""
        self.offset = time.time() - monotonic()

    def wall(self, moment: float) -> float:
        """The wall time of a moment of the monotonic clock."""
        return round(moment + self.offset, 4)


class Log:
    """The JSON lines of one prober on disk: at most a second is lost with the node's power.

    A segment ends at a size and begins again with the header, so that each can be read alone; the oldest files of the folder go when
    it is full. Disk errors are borne: what could not be written is missing in the log, which its reader sees.
    """

    def __init__(self, folder: str, stem: str, opening: Callable[[], list[Any]]) -> None:
        self.folder, self.stem, self.opening = folder, stem, opening
        self.lines: list[str] = []
        self.segment = self.size = 0
        self.file = -1
        self._dirty, self._wake = os.pipe()
        # Writing to disk may take longer than a tick, so another thread waits for it; it does nothing else.
        _thread.start_new_thread(self._synchronize, ())

    def write(self, line: Any) -> None:
        """Keep one line until the next flush."""
        self.lines.append(encoded(line))

    def flush(self) -> None:
        """Hand the lines to the kernel and have them written to disk."""
        try:
            if self.file < 0 or self.size > SEGMENT_BYTES:
                self._next_segment()
            self.size += os.write(self.file, "".join(self.lines).encode())
            os.write(self._wake, b".")
        except OSError as exc:
            print(f"cannot write the log: {exc}", file=sys.stderr, flush=True)
        self.lines.clear()

    def close(self) -> None:
        """Write what is left to disk before this returns."""
        self.flush()
        if self.file >= 0:
            os.fdatasync(self.file)

    def _synchronize(self) -> None:
        while os.read(self._dirty, 64):
            try:
                os.fdatasync(self.file)
            except OSError:
                continue  # told by the next write

    def _next_segment(self) -> None:
        self._drop_oldest()
        name = os.path.join(self.folder, f"{self.stem}-{self.segment:04d}.jsonl")
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        old, self.file = self.file, file
        self.segment, self.size = self.segment + 1, 0
        self.lines[:0] = map(encoded, self.opening())
        if old >= 0:
            os.close(old)

    def _drop_oldest(self) -> None:
        found = [entry for entry in os.scandir(self.folder) if entry.name.endswith(".jsonl")]
        total = sum(entry.stat().st_size for entry in found)
        for entry in sorted(found, key=lambda entry: entry.stat().st_mtime):
            if total <= FOLDER_BYTES:
                break
            total -= entry.stat().st_size
            os.unlink(entry.path)


def encoded(line: Any) -> str:
    """A line of the log."""
    return json.dumps(line, separators=(",", ":")) + "\n"


class Path:
    """What is known of one flow to one target: the counts of the running second, and since when it has had no answer."""

    def __init__(self, prober: Prober, name: str, new: bool, node: str, address: str, incarnation: str) -> None:
        self.prober, self.name, self.new = prober, name, new
        self.node, self.address, self.incarnation = node, address, incarnation
        self.since: float | None = None
        self.unanswered = 0
        self.lost = ""
        self.last = self.retired = 0.0
        self.reset()
        self.number = prober.number_path()
        prober.add_path(self)

    def reset(self) -> None:
        """Begin a new second."""
        self.sent = self.ok = self.failed = self.late = 0
        self.worst = self.gap = 0.0
        self.buckets: dict[int, int] = {}

    def declaration(self) -> dict[str, Any]:
        """The line that tells what the number means."""
        mode = "new" if self.new else "reused"
        return {"k": "path", "p": self.number, "path": self.name, "mode": mode, "node": self.node, "address": self.address, "incarnation": self.incarnation}

    def begin(self, now: float) -> None:
        """A probe goes out."""
        self.sent += 1
        self.unanswered += 1
        if self.since is None:
            self.since = now

    def answer(self, began: float, now: float, by: str = "") -> None:
        """A probe was answered, by ``by`` where that is not known from the target."""
        taken = now - began
        bucket = bisect_left(BOUNDS, taken * 1000)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        if taken > self.worst:
            self.worst = taken
        self.acknowledge(began, now, by)

    def acknowledge(self, began: float, now: float, by: str) -> None:
        """A probe was answered, at about this time: a kernel may put off an acknowledgement for 40 ms."""
        self.ok += 1
        if self.since is not None:
            gap = self.silence(now)
            if gap > self.gap:
                self.gap = gap
            if gap > LATE:
                self.write_gap(now, by)
            self.since = None
            self.unanswered = 0
            self.lost = ""
        self.last = now
        if now - began > LATE:
            self.late += 1
            self.write_event(began, now, None, by)

    def fail(self, began: float, now: float, error: str, by: str = "", port: int = 0) -> None:
        """A probe failed; ``by`` is the target at the other end of the connection that broke, ``port`` the port at this end where it is known."""
        self.failed += 1
        self.lost = by or self.lost
        self.write_event(began, now, error, by, port)

    def silence(self, now: float) -> float:
        """Seconds for which there has been no answer, from half an interval before the first probe that got none.

        When between that probe and the one before it began, nobody knows: on average, in the middle.
        """
        return 0.0 if self.since is None else now - max(self.last, self.since - self.prober.interval / 2)

    def open_silence(self, now: float) -> float:
        """The silence that lasts, as far as it is known: whether a probe is answered is seen before the next one."""
        return self.silence(now) if self.unanswered > 1 else 0.0

    def retire(self, now: float) -> None:
        """Nobody asks there any more. Probes under way are still counted."""
        self.retired = now
        if self.open_silence(now) > LATE:
            self.write_gap(now, "")
        self.since = None

    def write_gap(self, now: float, by: str) -> None:
        """Log a gap that ends now."""
        gap = self.silence(now)
        self.prober.write("gap", now - gap, p=self.number, ms=milliseconds(gap), by=by, lost=self.lost)

    def write_event(self, began: float, now: float, error: str | None, by: str, port: int = 0) -> None:
        """Log a probe that failed or was late."""
        lag = milliseconds(self.prober.lag)
        self.prober.write("probe", began, p=self.number, ms=milliseconds(now - began), error=error, by=by, port=port, lag=lag)

    def figures(self, now: float) -> list[Any] | None:
        """The counts of the second that ends now; None when nothing happened in it."""
        silence = self.open_silence(now)
        if not (self.sent or self.ok or self.failed or silence > LATE):
            return None
        buckets = [figure for pair in self.buckets.items() for figure in pair]
        return [self.number, self.sent, self.ok, self.failed, self.late, milliseconds(self.worst), milliseconds(max(self.gap, silence)), buckets]


def milliseconds(seconds: float) -> float:
    """Seconds in milliseconds, to two digits."""
    return round(seconds * 1000, 2)


def local_port(sock: Socket) -> int:
    """The port at this end, by which a connection is found in a capture or a table of connections; 0 when it has none."""
    try:
        return int(sock.getsockname()[1])
    except OSError:
        return 0


def microseconds(seconds: float) -> int:
    """Seconds in microseconds, as a number of 32 bits."""
    return min(max(int(seconds * 1e6), 0), 0xFFFFFFFF)


class New:
    """A flow's way to one target over a socket for each probe."""

    awaited = select.EPOLLIN

    def __init__(self, path: Path, address: tuple[str, int]) -> None:
        self.path, self.address = path, address
        self.prober = path.prober

    def probe(self, now: float) -> None:
        """Send a probe; its answer is fetched later."""
        raise NotImplementedError

    def land(self, sock: Socket, began: float, now: float) -> bool:
        """Fetch the answer; False when there is none yet."""
        try:
            error = self.fetch(sock, began, now)
        except BlockingIOError:
            return False
        except OSError as exc:
            error = error_name(exc.errno)
        if error:
            port = local_port(sock)
            sock.close()
            self.path.fail(began, now, error, port=port)
        else:
            self.landed(sock, now)
        return True

    def fetch(self, sock: Socket, began: float, now: float) -> str | None:
        """Read the answer and count it; an error if it is none."""
        raise NotImplementedError

    def landed(self, sock: Socket, now: float) -> None:
        """The probe is answered."""
        sock.close()

    def close(self) -> None:
        """Nothing is kept; probes under way end by themselves."""


class NewConnection(New):
    """A TCP connection for each probe, answered by the target's kernel: how busy the processes at both ends are does not matter.

    With ``expected``, one in so many is then used for a request, which is a probe of its own.
    """

    awaited = select.EPOLLOUT

    def __init__(self, path: Path, address: tuple[str, int], expected: bytes = b"") -> None:
        super().__init__(path, address)
        self.request = NewRequest(path, address, expected) if expected else None
        self.count = 0

    def probe(self, now: float) -> None:
        self.path.begin(now)
        sock = Socket(AF_INET, STREAM)
        # Closed with a reset, a connection leaves no TIME_WAIT behind: twenty a second and flow would fill the tables of both ends.
        sock.setsockopt(SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE)
        code = sock.connect_ex(self.address)
        if code == EINPROGRESS:
            self.prober.launched.append((self, sock, now))
        else:
            sock.close()
            self.path.fail(now, now, error_name(code))

    def fetch(self, sock: Socket, began: float, now: float) -> str | None:
        # Whether it stands, and since when: the kernel knows how long the answer to its SYN took, or when it last heard anything.
        info = sock.getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES)
        if info[0] == TCP_SYN_SENT:
            raise BlockingIOError
        if info[0] == TCP_CLOSE:
            return error_name(sock.getsockopt(SOL_SOCKET, socket.SO_ERROR))
        heard_ms, round_trip_us, repeated, _acknowledged = TCP_FIGURES.unpack_from(info, TCP_FIGURES_AT)
        arrived = now - heard_ms / 1000 if repeated else began + round_trip_us / 1e6
        self.path.answer(began, min(max(arrived, began), now))
        return None

    def landed(self, sock: Socket, now: float) -> None:
        self.count += 1
        if self.request and self.count % REQUEST_EVERY == 0:
            self.request.ask(sock, now)
        else:
            sock.close()


class NewRequest(New):
    """A request over a new connection; the target answers with its name."""

    def __init__(self, path: Path, address: tuple[str, int], expected: bytes) -> None:
        super().__init__(path, address)
        self.expected = expected

    def ask(self, sock: Socket, now: float) -> None:
        """Send the request."""
        self.path.begin(now)
        try:
            sock.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.send(b"?")
        except OSError as exc:
            sock.close()
            self.path.fail(now, now, error_name(exc.errno))
        else:
            self.prober.launched.append((self, sock, now))

    def fetch(self, sock: Socket, began: float, now: float) -> str | None:
        data, arrived = self.prober.receive(sock, began, now)
        if not data.startswith(self.expected, ANSWER.size):
            return "wrong answer" if data else "closed"
        self.path.answer(began, max(arrived - ANSWER.unpack_from(data)[1] / 1e6, began), identity(data))
        return None


class NewQuery(New):
    """A DNS query from a socket of its own."""

    def __init__(self, path: Path, address: tuple[str, int], name: str) -> None:
        super().__init__(path, address)
        self.query = b"\0\1" + dns_query(name)

    def probe(self, now: float) -> None:
        self.path.begin(now)
        sock = Socket(AF_INET, DATAGRAM)
        try:
            sock.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.connect(self.address)
            sock.send(self.query)
        except OSError as exc:
            sock.close()
            self.path.fail(now, now, error_name(exc.errno))
        else:
            self.prober.launched.append((self, sock, now))

    def fetch(self, sock: Socket, began: float, now: float) -> str | None:
        data, arrived = self.prober.receive(sock, began, now)
        if not is_dns_answer(data):
            return "wrong answer"
        self.path.answer(began, arrived)
        return None


class Kept:
    """A long-lived connection. One that breaks, or is silent for too long, is one failed request, and then is made anew.

    Making it is a request, too, until the first answer is there. ``asked`` are the requests without an answer, each with what its
    answer is known by, and when it began.
    """

    kind, awaited = STREAM, select.EPOLLIN

    def __init__(self, path: Path, address: tuple[str, int]) -> None:
        self.path, self.address = path, address
        self.prober = path.prober
        self.sock: Socket | None = None
        self.asked: deque[tuple[int, float]] = deque()
        self.by = ""

    def probe(self, now: float) -> None:
        """Ask over the connection, or make one."""
        if self.sock is None:
            self.connect(now)
        elif self.asked and now - self.asked[0][1] > TIMEOUT:
            self.broke(now, "timeout")
        else:
            self.attempt(self.ask, now)

    def connect(self, now: float) -> None:
        """Begin a connection."""
        self.asked.clear()
        self.by = ""
        self.path.begin(now)
        self.sock = Socket(AF_INET, self.kind)
        self.sock.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if self.kind == STREAM:
            self.sock.setsockopt(IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.setsockopt(SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE)
        self.prober.watch(self.sock, self.awaited, lambda now, _mask: self.attempt(self.read, now))
        self.asked.append((0, now))
        code = self.sock.connect_ex(self.address)
        if code not in (0, EINPROGRESS):
            self.broke(now, error_name(code))

    def attempt(self, action: Callable[[float], str | None], now: float) -> None:
        """Use the connection; when that goes wrong, it broke."""
        try:
            error = action(now)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLError as exc:
            error = f"TLS: {exc.reason}"
        except OSError as exc:
            error = error_name(exc.errno)
        if error:
            self.broke(now, error)

    def broke(self, now: float, error: str) -> None:
        """Count one failure and drop the connection; other requests that were under way with it are no requests of their own."""
        if not self.asked:  # it broke between two requests
            self.path.begin(now)
            self.asked.append((0, now))
        began = min(asked[1] for asked in self.asked)
        port = local_port(self.sock) if self.sock is not None else 0
        self.close()
        self.path.fail(began, now, error, self.by, port)

    def close(self) -> None:
        """Drop the connection."""
        if self.sock is not None:
            self.prober.forget(self.sock)
            self.sock.close()
            self.sock = None

    def ask(self, now: float) -> str | None:
        """Send one request; an error if there was one."""
        raise NotImplementedError

    def read(self, now: float) -> str | None:
        """Read answers; an error if there was one."""
        raise NotImplementedError


class KeptConnection(Kept):
    """A connection to a target. Its kernel acknowledges each ping; the process greets, and answers requests.

    ``request`` is when the one that has no answer yet began: being greeted counts as one.
    """

    def __init__(self, path: Path, address: tuple[str, int], expected: bytes) -> None:
        super().__init__(path, address)
        self.expected = expected

    def connect(self, now: float) -> None:
        self.open = False
        self.sent = self.base = self.count = 0
        self.received = b""
        self.request: float | None = None
        # When which byte was sent, for as long as an answer may speak of it.
        self.times: deque[tuple[int, float]] = deque(maxlen=int(TIMEOUT / self.prober.interval))
        super().connect(now)

    def broke(self, now: float, error: str) -> None:
        if self.request is not None:
            self.asked.appendleft((0, self.request))
        super().broke(now, error)

    def ask(self, now: float) -> str | None:
        assert self.sock is not None
        info = self.sock.getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES)
        if info[0] == TCP_SYN_SENT:
            return None
        if info[0] == TCP_CLOSE:
            return error_name(self.sock.getsockopt(SOL_SOCKET, socket.SO_ERROR))
        heard_ms, round_trip_us, _repeated, acknowledged = TCP_FIGURES.unpack_from(info, TCP_FIGURES_AT)
        asked = self.asked
        if not self.open:
            self.open, self.base = True, acknowledged
            began = asked.popleft()[1]
            self.path.answer(began, min(began + round_trip_us / 1e6, now))
            if not self.by:  # else its greeting was read before this first look at it
                self.path.begin(now)
                self.request = now
        acknowledged -= self.base
        while asked and asked[0][0] <= acknowledged:
            began = asked.popleft()[1]
            self.path.acknowledge(began, max(now - heard_ms / 1000, began), self.by)
        if self.request is not None and now - self.request > TIMEOUT:
            return "timeout"
        self.path.begin(now)
        self.count += 1
        message = PING
        if self.count % REQUEST_EVERY == 0 and self.request is None:
            message, self.request = REQUEST, now
        self.sent += len(message)
        self.times.append((self.sent, now))
        if message is PING:
            asked.append((self.sent, now))
        # A buffer that takes no more is one that nobody has taken from for long.
        return None if self.sock.send(message) == len(message) else "timeout"

    def read(self, now: float) -> str | None:
        assert self.sock is not None
        data, arrived = self.prober.receive(self.sock, 0.0, now)
        if not data:
            return "closed"
        self.received += data
        if len(self.received) < len(REQUEST) and self.by:
            return None
        # The target tells up to which byte it has read, and how long ago that came: since when is known here.
        upto, held = ANSWER.unpack_from(self.received)
        if not self.by:
            if not self.received.startswith(self.expected, ANSWER.size):
                return "wrong answer"
            self.by = identity(self.received)
        self.received = self.received[len(REQUEST) :]
        if self.request is not None:
            began, self.request = self.request, None
            sent = next((time for number, time in self.times if number >= upto), began) if upto else began
            self.path.answer(began, began + max(arrived - held / 1e6 - sent, 0.0), self.by)
        return None


class KeptRequest(Kept):
    """A keep-alive HTTPS connection to the API server. One request at a time: the next waits for the answer."""

    awaited = select.EPOLLIN | select.EPOLLOUT

    def __init__(self, path: Path, address: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(path, address)
        self.context = context
        self.shaking = False

    def connect(self, now: float) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname="kubernetes")
        self.shaking = self.connecting = True
        self.prober.handshakes += 1
        super().connect(now)

    def close(self) -> None:
        if self.shaking:
            self.shaking = False
            self.prober.handshakes -= 1
        super().close()

    def shake(self) -> None:
        """Take the handshake one step further, and ask when it is done."""
        assert self.sock is not None
        try:
            self.tls.do_handshake()
            self.shaking = False
            self.prober.handshakes -= 1
            self.tls.write(LIVEZ)
        finally:
            self.sock.send(self.outgoing.read())

    def ask(self, now: float) -> str | None:
        if self.asked:
            return None
        self.path.begin(now)
        self.asked.append((0, now))
        self.tls.write(LIVEZ)
        assert self.sock is not None
        self.sock.send(self.outgoing.read())
        return None

    def read(self, now: float) -> str | None:
        assert self.sock is not None
        if self.connecting:
            if code := self.sock.getsockopt(SOL_SOCKET, socket.SO_ERROR):
                return error_name(code)
            self.connecting = False
            self.prober.rewatch(self.sock, select.EPOLLIN)
            self.shake()
        data, arrived = self.prober.receive(self.sock, self.asked[0][1] if self.asked else now, now)
        if not data:
            return "closed"
        self.incoming.write(data)
        if self.shaking:
            self.shake()
        answer = self.tls.read(8192)
        if not answer:
            return "closed"
        if self.asked:
            # Even a refusal of anonymous requests is an answer of the API server.
            if not answer.startswith(b"HTTP/1.1 ") or answer[9:10] == b"5":
                return f"wrong answer: {answer[:12].decode('ascii', 'replace')}"
            self.path.answer(self.asked.popleft()[1], arrived)
        return None


class KeptQuery(Kept):
    """DNS queries from one socket."""

    kind = DATAGRAM

    def __init__(self, path: Path, address: tuple[str, int], name: str) -> None:
        super().__init__(path, address)
        self.query = dns_query(name)
        self.number = 0

    def connect(self, now: float) -> None:
        super().connect(now)
        if self.sock is not None:
            self.asked.clear()
            self.attempt(self.send, now)

    def ask(self, now: float) -> str | None:
        self.path.begin(now)
        return self.send(now)

    def send(self, now: float) -> str | None:
        """Send one query."""
        assert self.sock is not None
        self.number = (self.number + 1) & 0xFFFF
        self.asked.append((self.number, now))
        self.sock.send(self.number.to_bytes(2, "big") + self.query)
        return None

    def read(self, now: float) -> str | None:
        assert self.sock is not None
        data, arrived = self.prober.receive(self.sock, self.asked[0][1] if self.asked else now, now)
        number = int.from_bytes(data[:2], "big")
        for asked in self.asked:
            if asked[0] == number:
                if not is_dns_answer(data):
                    return "wrong answer"
                self.asked.remove(asked)
                self.path.answer(asked[1], arrived)
                break
        return None


def identity(greeting: bytes) -> str:
    """Who greets: ``node/incarnation``."""
    return "/".join(greeting[ANSWER.size + len(GREETING) :].decode("ascii", "replace").split()[:2])


def dns_query(name: str) -> bytes:
    """A query for the IPv4 address of ``name``, all but its number (RFC 1035, section 4)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack(">5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def is_dns_answer(data: bytes) -> bool:
    """Whether this is an answer without an error code and with at least one record."""
    return len(data) > 12 and bool(data[2] & 0x80) and data[3] & 0x0F == 0 and data[6:8] != b"\0\0"


# A probe under way on a socket of its own: whose it is, the socket, and when it began.
Flight = tuple[New, Socket, float]


class Flow:
    """One kind of path, probed in one of so many ticks; with several targets, one after the other."""

    def __init__(self, name: str, new: bool, every: int = 1) -> None:
        self.name, self.new, self.every = name, new, every
        self.links: list[New | Kept] = []
        self.turn = 0

    def probe(self, now: float) -> None:
        """Send the next probe."""
        if self.links:
            self.turn = (self.turn + 1) % len(self.links)
            self.links[self.turn].probe(now)


class Prober:
    """The loop, and what it shares: sockets, paths, the log."""

    def __init__(self, kind: str, config: dict[str, Any], environment: dict[str, str]) -> None:
        self.kind, self.config = kind, config
        self.node, self.host_ip, self.pod_ip = environment["NODE_NAME"], environment["HOST_IP"], environment["POD_IP"]
        self.incarnation = os.urandom(4).hex()
        self.greeting = GREETING + f"{self.node} {self.incarnation}\n".encode()
        self.interval = config["interval_ms"] / 1000
        self.clock = Clock()
        self.started = monotonic()
        self.stopping = False
        self.lag = self.worst_lag = 0.0
        self.stalls: list[list[float]] = []
        self.epoll = select.epoll()
        self.handlers: dict[int, Any] = {}
        self.handshakes = 0
        self.launched: list[Flight] = []
        self.flights: deque[Flight] = deque()
        self.paths: list[Path] = []
        self.declared = 0
        self.flows: list[Flow] = []
        self.targets: dict[str, tuple[str, str]] = {}
        self.status_file = os.path.join(config["folder"], f"{kind}.json")
        self.totals: dict[str, list[float]] = self.earlier_totals()
        stem = f"{config['run']}-{kind}-{int(time.time() * 1000)}-{self.incarnation}"
        self.log = Log(config["folder"], stem, lambda: [self.header(), *(path.declaration() for path in self.paths)])
        self.nodes = {node["name"]: node["ip"] for node in config["nodes"]}
        self.neighbours = neighbours(self.node, sorted(self.nodes))

    # What it writes.

    def header(self) -> dict[str, Any]:
        """The first line of a log."""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return {
            "k": "start",
            "format": FORMAT,
            "run": self.config["run"],
            "node": self.node,
            "kind": self.kind,
            "ip": self.pod_ip,
            "incarnation": self.incarnation,
            "boot": boot,
            "t": self.clock.wall(self.started),
            "m": self.started,
            "interval_ms": milliseconds(self.interval),
            "late_ms": LATE * 1000,
            "timeout_ms": TIMEOUT * 1000,
            "bounds_ms": [round(bound, 4) for bound in BOUNDS],
            "flows": [[flow.name, "new" if flow.new else "reused", milliseconds(self.interval * flow.every)] for flow in self.flows],
        }

    def write(self, what: str, moment: float, **facts: Any) -> None:
        """Log something that happened at a moment of the monotonic clock."""
        self.log.write({"k": what, "t": self.clock.wall(moment), "m": round(moment, 4), **facts})

    def number_path(self) -> int:
        """The number of the next path."""
        self.declared += 1
        return self.declared

    def add_path(self, path: Path) -> None:
        """Take in a path."""
        self.paths.append(path)
        if self.log.file >= 0:  # else the header of the first segment has it
            self.log.write(path.declaration())

    def second(self, now: float) -> None:
        """Write what happened since the last call."""
        figures = []
        for path in self.paths:
            line = path.figures(now)
            if line:
                figures.append(line)
                self.count(path, line)
            path.reset()
        self.write("s", now, lag=milliseconds(self.worst_lag), stalls=self.stalls, cpu=round(time.process_time(), 3), f=figures)
        self.worst_lag, self.stalls = 0.0, []
        self.log.flush()
        self.paths = [path for path in self.paths if not path.retired or now - path.retired < TIMEOUT + 1]
        self.write_status(now, gone=self.stopping)

    def count(self, path: Path, figures: list[Any]) -> None:
        """Add a second of a path to the totals that are handed out while the monitor runs."""
        total = self.totals.setdefault(f"{path.name}/{'new' if path.new else 'reused'}", [0, 0, 0, 0])
        total[0] += figures[2] + figures[3]
        total[1] += figures[3]
        total[2] += figures[4]
        total[3] = max(total[3], figures[6])

    def earlier_totals(self) -> dict[str, list[float]]:
        """The totals of an earlier prober of this kind in the same run, on which this one counts on."""
        status = read_json(self.status_file) or {}
        return status.get("totals", {}) if status.get("run") == self.config["run"] else {}

    def write_status(self, now: float, gone: bool = False) -> None:
        """Tell the host prober of this node who is here; an address that is gone is told as empty."""
        status = {
            "run": self.config["run"],
            "node": self.node,
            "kind": self.kind,
            "incarnation": self.incarnation,
            "ip": "" if gone else self.pod_ip,
            "t": self.clock.wall(now),
            "totals": self.totals,
        }
        try:
            with open(self.status_file + ".new", "w", encoding="ascii") as file:
                file.write(json.dumps(status))
            os.replace(self.status_file + ".new", self.status_file)
        except OSError as exc:
            print(f"cannot write {self.status_file}: {exc}", file=sys.stderr, flush=True)

    # What it waits for.

    def watch(self, sock: Socket, mask: int, handler: Callable[[float, int], None]) -> None:
        """Call ``handler`` on each event of the socket."""
        fd = sock.fileno()
        self.handlers[fd] = handler
        self.epoll.register(fd, mask)

    def rewatch(self, sock: Socket, mask: int) -> None:
        """Wait for other events of the socket."""
        self.epoll.modify(sock.fileno(), mask)

    def forget(self, sock: Socket) -> None:
        """A socket is about to be closed, which takes it off the epoll, too."""
        self.handlers.pop(sock.fileno(), None)

    def receive(self, sock: Socket, began: float, now: float) -> tuple[bytes, float]:
        """Read what came, and when it came by the kernel's account: a prober that is late itself does not call the answer late."""
        data, ancillary, _flags, _address = sock.recvmsg(8192, ANCILLARY_BYTES)
        if not ancillary:
            return data, now
        seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2])
        return data, min(max(seconds + nanoseconds / 1e9 - self.clock.offset, began), now)

    def collect(self, now: float, leave: bool = False) -> None:
        """Fetch the answers to the last probes. One that is not there yet is looked for again, or left to the epoll."""
        launched, self.launched = self.launched, []
        for flight in launched:
            link, sock, began = flight
            if link.land(sock, began, now):
                continue
            if leave:
                fd = sock.fileno()
                self.handlers[fd] = flight
                self.epoll.register(fd, link.awaited)
                self.flights.append(flight)
            else:
                self.launched.append(flight)

    def land(self, flight: Flight, now: float) -> None:
        """Fetch an answer that took longer."""
        link, sock, began = flight
        fd = sock.fileno()
        if link.land(sock, began, now):
            del self.handlers[fd]
            if sock.fileno() >= 0:  # it goes on as a request
                self.epoll.unregister(fd)

    def expire(self, now: float) -> None:
        """End the new connections that nobody answered."""
        while self.flights:
            link, sock, began = flight = self.flights[0]
            waiting = self.handlers.get(sock.fileno()) is flight
            if waiting and began > now - TIMEOUT:
                break
            self.flights.popleft()
            if waiting:
                self.forget(sock)
                port = local_port(sock)
                sock.close()
                link.path.fail(began, now, "timeout", port=port)

    def wait(self, due: float) -> list[tuple[int, int]]:
        """Wait until ``due``; the events there are.

        Only a handshake of TLS must go on at once: other messages wait in the kernel, which notes when they came.
        """
        pause = max(due - monotonic(), 0.0)
        if self.handshakes:
            return self.epoll.poll(pause, 64)
        time.sleep(pause)
        return self.epoll.poll(0, 256)

    def run(self) -> None:
        """Probe until SIGTERM."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        # Nothing here makes cycles, and what the start left is looked through for nothing.
        gc.disable()
        handlers = self.handlers
        step = self.interval if self.flows else POLL
        ticks, due = 0, self.first_tick(step)
        next_second = due + 1
        self.second(monotonic())
        while not self.stopping:
            events = self.wait(due)
            now = monotonic()
            self.lag = now - due if now > due else 0.0
            self.clock.adjust()
            self.collect(now, leave=True)
            for fd, mask in events:
                handler = handlers.get(fd)
                if isinstance(handler, tuple):
                    self.land(handler, now)
                elif handler is not None:
                    handler(now, mask)
            if now < due:
                continue
            if self.lag > self.worst_lag:
                self.worst_lag = self.lag
            if self.lag > STALL:
                self.stalls.append([self.clock.wall(due), milliseconds(self.lag)])
            self.expire(now)
            for flow in self.flows:
                if ticks % flow.every == 0:
                    flow.probe(monotonic())
            # Most are answered by now, and what is done at once costs less than after a sleep.
            self.collect(monotonic())
            ticks += 1
            # After a stall, the probes of that time are not made up for.
            due += step * max(1, math.ceil((now - due) / step))
            if now >= next_second:
                next_second = now + 1
                self.second(now)
                if self.flows:
                    self.find_targets()
        self.end()

    def first_tick(self, step: float) -> float:
        """When to begin: the two probers of a node take turns, and nodes do not ask what they share all at once."""
        phase = zlib.crc32(self.node.encode()) % 1000 / 1000 + (0.5 if self.kind == "pod" else 0.0)
        return monotonic() + step - (time.time() - phase * step) % step

    def stop(self, *_signal: Any) -> None:
        """Leave the loop."""
        self.stopping = True

    def end(self) -> None:
        """Write the last lines; what is still under way is cut and not counted."""
        now = monotonic()
        for path in self.paths:
            path.retire(now)
        self.second(now)
        self.write("stop", now)
        self.log.close()

    # What it answers.

    def listen(self, kind: int, address: str, port: int, handler: Callable[[socket.socket], Callable[[float, int], None]]) -> None:
        """Open a server socket."""
        server = socket.socket(AF_INET, kind)
        server.setsockopt(SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if kind == STREAM:
            # Connections inherit both.
            server.setsockopt(IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
            server.listen(512)
        self.watch(server, select.EPOLLIN, handler(server))

    def greet(self, server: socket.socket) -> Callable[[float, int], None]:
        """Answer each connection that asks something. One that does not ask is the kernel's alone."""
        server.setsockopt(IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)

        def accept(now: float, _mask: int) -> None:
            try:
                while True:
                    sock = server.accept()[0]
                    sock.setblocking(False)
                    data, arrived = self.receive(sock, 0.0, now)
                    if data:
                        sock.send(ANSWER.pack(len(data), microseconds(monotonic() - arrived)) + self.greeting)
                    sock.close()
            except OSError:
                return

        return accept

    def serve(self, server: socket.socket) -> Callable[[float, int], None]:
        """Greet each connection, and answer its requests."""

        def accept(_now: float, _mask: int) -> None:
            try:
                sock = server.accept()[0]
                sock.setblocking(False)
                heard_ms = TCP_FIGURES.unpack_from(sock.getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES), TCP_FIGURES_AT)[0]
                sock.send(ANSWER.pack(0, heard_ms * 1000) + self.greeting)
                sock.setsockopt(IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except OSError:
                return
            read = asked = 0

            def answer(now: float, _mask: int) -> None:
                nonlocal read, asked
                try:
                    data, arrived = self.receive(sock, 0.0, now)
                    read += len(data)
                    asked += data.count(REQUEST[:1])
                    while asked >= len(REQUEST):
                        asked -= len(REQUEST)
                        sock.send(ANSWER.pack(read, microseconds(monotonic() - arrived)).ljust(len(REQUEST)))
                        # Else the kernel would wait for the next answer to put its acknowledgements on.
                        sock.setsockopt(IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                    if data:
                        return
                except BlockingIOError:
                    return
                except OSError:
                    pass
                self.forget(sock)
                sock.close()

            self.watch(sock, select.EPOLLIN, answer)

        return accept

    def tell(self, server: socket.socket) -> Callable[[float, int], None]:
        """Tell in a datagram where this node's target is, as far as it runs."""

        def answer(_now: float, _mask: int) -> None:
            try:
                address = server.recvfrom(16)[1]
                status = read_json(os.path.join(self.config["folder"], "target.json")) or {}
                told = {key: status.get(key, "") for key in ("node", "ip", "incarnation")} if status.get("run") == self.config["run"] else {}
                server.sendto(json.dumps(told).encode(), address)
            except OSError:
                return

        return answer

    def hand_out(self, server: socket.socket) -> Callable[[float, int], None]:
        """Answer HTTP: the totals and the logs of this node's probers."""

        def accept(now: float, mask: int) -> None:
            try:
                sock = server.accept()[0]
            except OSError:
                return
            sock.setblocking(False)
            request = Request(self, sock)
            self.watch(sock, select.EPOLLIN, request.happened)
            request.happened(now, mask)  # what is asked for has mostly come, too

        return accept

    # Whom it asks.

    def prepare(self) -> None:
        """Open what this kind of prober serves, and the flows it probes."""
        port = self.config["port"]
        if self.kind == "target":
            for first in range(port, port + PORTS * len(ROADS), PORTS):
                self.listen(STREAM, self.pod_ip, first, self.greet)
                self.listen(STREAM, self.pod_ip, first + 1, self.serve)
            return
        if self.kind == "host":
            self.listen(STREAM, self.host_ip, port, self.hand_out)
            self.listen(DATAGRAM, self.host_ip, port, self.tell)
        self.asking = Socket(AF_INET, DATAGRAM)
        self.watch(self.asking, select.EPOLLIN, self.told)
        # What serves the whole cluster is not to be probed more often in a larger one.
        shared = max(1, -(-len(self.nodes) // SHARED_SERVERS_NODES))
        for new in (True, False):
            self.flows += (Flow("pod-same", new), Flow("pod-other", new), self.cluster_ip_flow(new), self.node_port_flow(new))
            self.flows += (self.dns_flow(new, shared), self.api_server_flow(new, shared))

    def cluster_ip_flow(self, new: bool) -> Flow:
        """The targets' Service."""
        flow = Flow("cluster-ip", new)
        self.add_link(flow, "", (self.config["cluster_ip"], self.port("cluster-ip", new)), "")
        return flow

    def node_port_flow(self, new: bool) -> Flow:
        """The Service's port of this node and of its neighbours."""
        flow = Flow("node-port", new, 1)
        for node in (self.node, *self.neighbours):
            if node in self.nodes:
                road = "own-node-port" if node == self.node else "node-port"
                self.add_link(flow, node, (self.nodes[node], self.config["node_ports"][f"{road}-{'new' if new else 'reused'}"]), "")
        return flow

    def dns_flow(self, new: bool, every: int) -> Flow:
        """The cluster's DNS, asked for the Service's name, both as a pod's own resolver has them."""
        flow = Flow("dns", new, every)
        server, domain = resolver()
        path = Path(self, flow.name, new, "", server, "")
        flow.links.append((NewQuery if new else KeptQuery)(path, (server, DNS_PORT), f"{self.config['service']}.{domain}"))
        return flow

    def api_server_flow(self, new: bool, every: int) -> Flow:
        """The API server by its Service, as pods see it."""
        flow = Flow("api-server", new, every)
        address = (os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"]))
        path = Path(self, flow.name, new, "", address[0], "")
        flow.links.append(NewConnection(path, address) if new else KeptRequest(path, address, tls_context(self.config["ca_file"])))
        return flow

    def port(self, road: str, new: bool) -> int:
        """The port of a target for probes that come by this road: new connections go to one port, kept ones to the next."""
        return self.config["port"] + PORTS * ROADS.index(road) + (0 if new else 1)

    def add_link(self, flow: Flow, node: str, address: tuple[str, int], incarnation: str) -> None:
        """Probe a target, or what leads to one."""
        path = Path(self, flow.name, flow.new, node, address[0], incarnation)
        # A target says its name, so that an address that belongs to another pod by now is not taken for it.
        expected = GREETING + (f"{node} ".encode() if incarnation else b"")
        flow.links.append((NewConnection if flow.new else KeptConnection)(path, address, expected))

    def find_targets(self) -> None:
        """Ask this node and its neighbours where their targets are."""
        for node in (self.node, *self.neighbours):
            try:
                self.asking.sendto(b"?", (self.nodes[node], self.config["port"]))
            except (OSError, KeyError):
                continue  # asked again in a second

    def told(self, now: float, _mask: int) -> None:
        """Follow a target to its new address, or leave it when it is gone."""
        try:
            status = json.loads(self.asking.recv(4096))
            node, here = status["node"], (status["ip"], status["incarnation"])
        except (OSError, ValueError, KeyError):
            return
        if self.targets.get(node) == here:
            return
        self.targets[node] = here
        for flow in self.flows:
            if flow.name == ("pod-same" if node == self.node else "pod-other"):
                for link in [link for link in flow.links if link.path.node == node]:
                    flow.links.remove(link)
                    link.close()
                    link.path.retire(now)
                if here[0]:
                    self.add_link(flow, node, (here[0], self.port("pod", flow.new)), here[1])


class Request:
    """One HTTP request to the host prober. It gives ``/stats``, ``/logs`` or ``/NAME@OFFSET``, and closes.

    Paths are of one part, since clients of the API server's proxy escape a slash.
    """

    def __init__(self, prober: Prober, sock: Socket) -> None:
        self.prober, self.sock = prober, sock
        self.folder = prober.config["folder"]
        self.received = self.head = b""
        self.file, self.offset, self.end = -1, 0, 0

    def happened(self, _now: float, mask: int) -> None:
        """Read the request, then write as much as the connection takes: it is not before the next tick that this is called again."""
        try:
            if not self.head:
                self.received += self.sock.recv(4096) or b"\r\n\r\n"
                if b"\r\n\r\n" not in self.received:
                    return
                # A client may have escaped the @.
                self.head = self.answer(self.received.split(b" ", 2)[1].decode("ascii", "replace").replace("%40", "@"))
                self.prober.rewatch(self.sock, select.EPOLLOUT)
            if self.received:  # the head is not sent yet
                self.received = b""
                self.sock.sendall(self.head)
            while self.offset < self.end:
                sent = os.sendfile(self.sock.fileno(), self.file, self.offset, self.end - self.offset)
                if not sent:
                    break  # the file has become shorter
                self.offset += sent
            self.close()
        except BlockingIOError:
            return
        except (OSError, IndexError):
            self.close()

    def answer(self, target: str) -> bytes:
        """Find what is asked for; the head, and the whole of an answer that is no file."""
        names = sorted(entry.name for entry in os.scandir(self.folder) if entry.name.startswith(f"{self.prober.config['run']}-"))
        if target == "/stats":
            kinds = ("host", "pod", "target")
            return self.json({"probers": {kind: read_json(os.path.join(self.folder, f"{kind}.json")) for kind in kinds}})
        if target == "/logs":
            return self.json({"files": [[name, os.stat(os.path.join(self.folder, name)).st_size] for name in names]})
        name, _at, offset = target[1:].partition("@")
        if name not in names or not offset.isdigit():
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.file = os.open(os.path.join(self.folder, name), os.O_RDONLY)
        self.offset = int(offset)
        self.end = min(os.fstat(self.file).st_size, self.offset + ANSWER_BYTES)
        return self.head_of(max(self.end - self.offset, 0), "application/jsonl")

    def json(self, content: dict[str, Any]) -> bytes:
        """A whole answer."""
        body = json.dumps({"node": self.prober.node, "run": self.prober.config["run"], "t": time.time(), **content}).encode()
        return self.head_of(len(body), "application/json") + body

    def head_of(self, size: int, kind: str) -> bytes:
        """The head of an answer of so many bytes."""
        return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode()

    def close(self) -> None:
        """End the connection."""
        self.prober.forget(self.sock)
        self.sock.close()
        if self.file >= 0:
            os.close(self.file)


def neighbours(node: str, names: list[str]) -> list[str]:
    """The two other nodes a node probes: the next one in order of names, and the one halfway round.

    However large the cluster is, each node is probed from two others. While nodes move in order, the second is often on the other side.
    """
    ring = [name for name in names if name > node] + [name for name in names if name < node]
    return list(dict.fromkeys((ring[0], ring[len(ring) // 2]))) if ring else []


def resolver() -> tuple[str, str]:
    """The first server of resolv.conf and the domain it searches first, which is the pod's namespace."""
    server = domain = ""
    with open("/etc/resolv.conf", encoding="ascii") as file:
        for words in map(str.split, file):
            if words[:1] == ["nameserver"] and not server:
                server = words[1]
            elif words[:1] == ["search"]:
                domain = words[1]
    return server, domain


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Trust the cluster's own authority; certificates made by older versions of Kubernetes lack what strict checks want."""
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def read_json(name: str) -> dict[str, Any] | None:
    """The object in a file; None when there is none."""
    try:
        with open(name, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def main(kind: str, config_file: str) -> None:
    """Run until SIGTERM."""
    with open(config_file, encoding="utf-8") as file:
        prober = Prober(kind, json.load(file), dict(os.environ))
    prober.prepare()
    prober.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
