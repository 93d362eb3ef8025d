"""The lease on which an attempt runs: it lasts while the runner reaches the head of its cluster.

Ray gives a node up after about a minute of silence, but under a partition the node's processes run on. So
that the daemon may count on their end, the runner ends its job itself once it has not reached the head for
``lease_s``. Reaching means a TCP connection to the control store (GCS): an idle or busy head still accepts
one, and nothing beyond the standard library is needed.
"""

import errno
import select
import socket
import time

EVERY_S = 5.0
CONNECT_S = 3.0
"""The patience with one connection; both are shorter for a short lease, so that several tries fit in it."""
POLL_S = 0.05


def elapsed_s() -> float:
    """Seconds that never jump and, where the system can tell, go on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Lease:
    """One attempt's lease; once it has lapsed it stays so, since the job may run elsewhere by then."""

    def __init__(self, address: str, lease_s: float) -> None:
        """Take the head's ``host:port`` and how long one contact lasts.

        Raises:
            ValueError: the address is none, or its name is not known; the message says what was expected.

        """
        self._family, self._target = _resolved(address)
        self.lease_s = lease_s
        self._every_s, self._connect_s = min(EVERY_S, lease_s / 6), min(CONNECT_S, lease_s / 3)
        self._socket: socket.socket | None = None
        self._begun_s = self._next_s = self._renewed_s = elapsed_s()
        self._lapsed = False

    def acquire(self) -> bool:
        """Reach the head for the first time; False when it could not be reached for as long as a lease lasts."""
        while not self.lapsed():
            if self.renew():
                return True
            time.sleep(POLL_S)
        return False

    def lapsed(self) -> bool:
        """Whether the last contact is too long ago; asked first after every pause, however long it was."""
        self._lapsed = self._lapsed or elapsed_s() - self._renewed_s > self.lease_s
        return self._lapsed

    def renew(self) -> bool:
        """Go one step towards the next contact without waiting for it; True when it was made just now."""
        now_s = elapsed_s()
        if self._socket is None:
            if now_s >= self._next_s:
                self._begin(now_s)
            return False
        reached = _connected(self._socket)
        if reached is None and now_s - self._begun_s < self._connect_s:
            return False
        self._socket.close()
        self._socket = None
        if not reached or self.lapsed():
            return False
        self._renewed_s = self._begun_s  # the answer proves no more than that the head was there when asked
        return True

    def _begin(self, now_s: float) -> None:
        self._begun_s, self._next_s = now_s, now_s + self._every_s
        self._socket = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if self._socket.connect_ex(self._target) not in {0, errno.EINPROGRESS}:
            self._socket.close()
            self._socket = None


def _resolved(address: str) -> tuple[int, tuple[object, ...]]:
    host, _, port = address.rpartition(":")
    try:  # without a host the name would be this machine's own
        found = socket.getaddrinfo(host.strip("[]") or "?", int(port), type=socket.SOCK_STREAM)[0]
    except (OSError, ValueError, OverflowError):
        message = f"RAY_ADDRESS is {address[:200]!r}; expected host:port of the cluster's head, which Ray gives to jobs"
        raise ValueError(message) from None
    return found[0], found[4]


def _connected(trying: socket.socket) -> bool | None:
    """Whether the connection was made or refused; None while neither is known."""
    poll = select.poll()
    poll.register(trying, select.POLLOUT)
    if not poll.poll(0):
        return None
    return trying.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
