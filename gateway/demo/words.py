"""What the demo tells people: where things are, commands that work when pasted, what went wrong and what to do.

Pure text, from facts. Every command printed here is run by a test.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.demo.flights import Flight
from gateway.demo.place import Place, Ports, shown
from gateway.demo.replay import INFER_PATH, MODEL, Course, Tally
from gateway.demo.screen import Section, VersionLine, agreement_text
from gateway.runtime.places import Record

PORTS_TRIED: Final = 50
LAST_PORT: Final = 65535


def invitation(place: Place, record: Record, course: Course, example: Flight, took_s: float) -> list[Section]:
    """What is where, and what to try."""
    config, command = shown(place.config), typed_command()
    where = [f"http://{record.inference}", f"http://{record.admin}", config]
    width = max(map(len, where)) + 3
    places = [
        f"inference  {where[0].ljust(width)}clients call models here",
        f"admin      {where[1].ljust(width)}health, metrics, reports",
        f"routing    {where[2].ljust(width)}edit and save: live within a second",
    ]
    if course.anew:
        places.append("flights    from the first again: the last demo came to their end")
    elif course.first:
        places.append(f"flights    from number {course.first + 1:,} on, where the last demo ended")
    ask = [
        f"curl -i -H 'x-tenant: {example.tenant}' -d @{shown(place.example)} \\",
        f"  http://{record.inference}{INFER_PATH}",
    ]
    read = [
        f"{command} report {MODEL} --config {config}",
        f"{command} pairs show REQUEST_ID --config {config}",
    ]
    return [
        Section(f"Ready after {took_s:.1f} s: real flights of 2013 come as live traffic. Ctrl-C stops.", places),
        Section("Ask for a prediction yourself, from another terminal:", ask),
        Section("See what the challengers would have answered:", read),
    ]


def farewell(place: Place, tally: Tally, troubles: Sequence[str], versions: Sequence[VersionLine]) -> list[Section]:
    """What was seen, and where it is kept."""
    failed = tally.failed.total()
    challengers = [_verdict(one) for one in versions if not one.is_champion]
    said = f"Stopped. {tally.answered:,} flights answered, {f'{failed:,}' if failed else 'none'} failed."
    return [
        Section(said, [*troubles, *challengers]),
        Section(
            f"Everything is kept in {shown(place.directory)}, and the next demo goes on from there:",
            [f"{typed_command()} report {MODEL} --config {shown(place.config)}"],
        ),
    ]


def remedy(sentence: str, place: Place, ports: Ports) -> list[str]:
    """What to do about a start that was refused; nothing where only the sentence itself can say."""
    port_taken = sentence.startswith(("listen.inference:", "listen.admin:"))
    state_taken = " in use by another gateway" in sentence
    if not (port_taken or state_taken):
        return []
    other = free_ports(ports)
    elsewhere = f"--port {other.inference} --admin-port {other.admin}"
    beside = place.directory.with_name(f"{place.directory.name}-2")
    if state_taken:
        elsewhere = f"--state {shown(beside)} {elsewhere}"
    advice = "Stop that one first, or start this one beside it:" if state_taken else "Start it on other ports:"
    return [advice, f"  {typed_command()} demo {elsewhere}"]


def free_ports(taken: Ports) -> Ports:
    """Two ports that nobody listens on now, near those that are taken."""
    first = min(max(taken.inference, taken.admin) + 9, LAST_PORT - PORTS_TRIED)
    free = [port for port in range(first, first + PORTS_TRIED) if _is_free(port)]
    return Ports(*free[:2]) if len(free) > 1 else taken


def typed_command() -> str:
    """The command `tiltyard` as one would type it here."""
    script = Path(sys.argv[0])
    found = shutil.which("tiltyard")
    if script.name != "tiltyard" or (found and Path(found).resolve() == script.resolve()):
        return "tiltyard"
    return shown(script)


def _verdict(one: VersionLine) -> str:
    seen = "has no pair to compare" if one.share is None else f"agrees with the champion in {agreement_text(one)}"
    return f"version {one.name} {seen}; {f'{one.lost:,}' if one.lost else 'none'} lost"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
