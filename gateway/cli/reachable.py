"""Whether something listens where backends are said to be: one TCP connection each, then closed.

Not a health check: no request is sent. Bounded in connections at a time, in time for each and in
time for all. Threads that may be left behind in a slow name look-up never keep the command from
ending, which a thread pool would.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

CONNECT_S = 1.0
ALL_S = 30.0
AT_ONCE = 64


class Endpoint(NamedTuple):
    """Where to connect to."""

    host: str
    port: int


def endpoint(url: str) -> Endpoint:
    """Where a validated URL leads."""
    parts = urlsplit(url)
    return Endpoint(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def probe(endpoints: Iterable[Endpoint], all_s: float = ALL_S) -> Iterator[tuple[Endpoint, str | None]]:
    """Each endpoint once it is tried, with what went wrong; last those that time ran out for."""
    waiting: queue.SimpleQueue[Endpoint] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[Endpoint, str | None]] = queue.SimpleQueue()
    left = set(endpoints)
    for one in sorted(left):
        waiting.put(one)
    for _ in range(min(AT_ONCE, len(left))):
        threading.Thread(target=_connect_to_each, args=(waiting, results), daemon=True).start()
    deadline = time.monotonic() + all_s
    while left:
        try:
            tried, problem = results.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        left.discard(tried)
        yield tried, problem
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()
    for one in sorted(left):
        yield one, f"not found out within {all_s:g} s"


def _connect_to_each(
    waiting: queue.SimpleQueue[Endpoint], results: queue.SimpleQueue[tuple[Endpoint, str | None]]
) -> None:
    with suppress(queue.Empty):
        while True:
            one = waiting.get_nowait()
            results.put((one, _problem(one)))


def _problem(one: Endpoint) -> str | None:
    try:
        socket.create_connection(one, timeout=CONNECT_S).close()
    except TimeoutError:
        return f"no answer within {CONNECT_S:g} s"
    except socket.gaierror:
        return "no such host"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except UnicodeError:  # a host name that the resolver cannot encode
        return "no such host"
    return None
