import socket
import sys
from collections import Counter
from pathlib import Path

import pytest

from gateway.demo.flights import read_flights
from gateway.demo.place import Place, Ports
from gateway.demo.replay import Course, Tally
from gateway.demo.screen import VersionLine
from gateway.demo.words import PORTS_TRIED, farewell, free_ports, invitation, remedy, typed_command
from gateway.runtime.places import Record

PLACE = Place(Path("state/demo"))
PORTS = Ports(8080, 8081)


def test_a_taken_port_leads_to_ports_that_are_free():
    advice = remedy("listen.admin: cannot listen on 127.0.0.1:8081: in use", PLACE, PORTS)

    assert advice[0] == "Start it on other ports:"
    assert " demo --port " in advice[1]
    assert " --state " not in advice[1]


def test_a_taken_state_leads_to_another_one_beside_it():
    advice = remedy("state: state/demo is in use by another gateway (pid 7)", PLACE, PORTS)

    assert advice[0] == "Stop that one first, or start this one beside it:"
    assert " demo --state state/demo-2 --port " in advice[1]


def test_what_only_the_sentence_itself_can_say_has_no_remedy():
    assert remedy("model flight-delay/1: the file is no ONNX model", PLACE, PORTS) == []


@pytest.mark.parametrize("taken", [Ports(8080, 8081), Ports(0, 0), Ports(65535, 65534), Ports(1, 65535)])
def test_free_ports_are_two_that_can_be_had_near_those_taken(taken):
    free = free_ports(taken)

    assert free.inference != free.admin
    for port in (free.inference, free.admin):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))


def test_a_port_that_somebody_listens_on_is_not_proposed():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first = max(1, port - 9)
        free = free_ports(Ports(first, first))

    assert port not in (free.inference, free.admin)
    assert PORTS_TRIED > 2


def test_a_farewell_names_what_failed_and_what_agrees():
    tally = Tally(sent=12, answered_by=Counter({"1": 10}), failed=Counter({"no answer within 10 s": 2}))
    versions = [
        VersionLine("1", True, 12),
        VersionLine("2", False, 10, lost=1, share=0.9, lower=0.8, upper=0.95),
        VersionLine("3", False, 0),
    ]
    seen, kept = farewell(PLACE, tally, ["failed: 2 requests: no answer within 10 s"], versions)

    assert seen.heading == "Stopped. 10 flights answered, 2 failed."
    assert seen.lines == [
        "failed: 2 requests: no answer within 10 s",
        "version 2 agrees with the champion in 90.0% (80.0% to 95.0%); 1 lost",
        "version 3 has no pair to compare; none lost",
    ]
    assert kept.lines[0].endswith("report flight-delay --config state/demo/demo.yaml")


@pytest.mark.parametrize(
    ("typed", "found", "command"),
    [
        (".venv/bin/tiltyard", None, ".venv/bin/tiltyard"),
        (".venv/bin/tiltyard", ".venv/bin/tiltyard", "tiltyard"),
        (".venv/bin/tiltyard", "other/tiltyard", ".venv/bin/tiltyard"),
        ("my venv/bin/tiltyard", None, "'my venv/bin/tiltyard'"),
        ("gateway/cli/main.py", None, "tiltyard"),
    ],
)
def test_the_command_is_named_as_it_can_be_typed_here(tmp_path, monkeypatch, typed, found, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / typed)])
    for name in filter(None, {typed, found}):
        script = tmp_path / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str((tmp_path / found).parent) if found else str(tmp_path))

    assert typed_command() == command


@pytest.mark.parametrize(
    ("course", "said"),
    [
        (Course(iter(()), 0, 0, 10), []),
        (Course(iter(()), 5000, 0, 10), ["flights    from number 5,001 on, where the last demo ended"]),
        (Course(iter(()), 0, 0, 10, anew=True), ["flights    from the first again: the last demo came to their end"]),
    ],
)
def test_an_invitation_says_where_the_flights_begin_unless_it_is_the_first(course, said):
    record = Record(pid=1, inference="127.0.0.1:8080", admin="127.0.0.1:8081", runtime_directory="/tmp/x")
    places = invitation(PLACE, record, course, next(read_flights()), 2.345)[0]

    assert places.heading == "Ready after 2.3 s: real flights of 2013 come as live traffic. Ctrl-C stops."
    assert places.lines[3:] == said
    assert all(len(line) <= 78 for line in places.lines)
