"""`tiltyard demo` with real processes on free ports: what it prints works when it is typed."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.gateway_process import ROOT, TILTYARD
from tests.support.polling import eventually

ENDS_WITHIN_S = 120.0
FLIGHTS = 200
NEVER_THROUGH = ("--rate", "50")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass
class RunningDemo:
    """A demo in a session of its own, and so in a process group of its own, as a terminal would have it."""

    directory: Path
    arguments: tuple[str, ...] = ()
    state: str = "state/demo"
    ports: tuple[int, int] = (0, 0)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._out = self.directory / f"{self.state.replace('/', '-')}-{len(list(self.directory.iterdir()))}.out"
        port, admin_port = self.ports
        command = [TILTYARD, "demo", "--port", str(port), "--admin-port", str(admin_port), "--state", self.state]
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                cwd=self.directory,
                env={**ENVIRONMENT, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def kept(self) -> Path:
        return self.directory / self.state

    def output(self) -> str:
        return self._out.read_text()

    def until(self, words: str) -> str:
        def printed() -> bool:
            found = words in self.output()
            assert found or self.process.poll() is None, self.output()
            return found

        try:
            eventually(printed, f"the demo prints {words!r}", ENDS_WITHIN_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None
        return self.output()

    def gateway_pids(self) -> list[int]:
        """The supervisor and its children."""
        supervisor = json.loads((self.kept / "gateway.json").read_text())["pid"]
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        return [supervisor, *map(int, children)]

    def interrupt(self) -> int:
        """Ctrl-C: SIGINT to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(timeout=ENDS_WITHIN_S)

    def destroy(self) -> None:
        """The gateway ends when its demo is gone; wait for that, so that no test leaves a process."""
        if self.process.poll() is None:
            pids = self.gateway_pids() if (self.kept / "gateway.json").exists() else []
            self.process.kill()
            self.process.wait()
            eventually(lambda: not any(map(is_running, pids)), "the gateway ends with its demo", ENDS_WITHIN_S)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def typed(directory: Path, command: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a command that was copied from the demo."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )


def printed_commands(output: str) -> list[str]:
    """The lines that are meant to be copied, with what a backslash continues."""
    joined = output.replace("\\\n", "\\\n")
    found = re.findall(r"^  ((?:curl|\S*tiltyard) (?:.|\\\n)*?[^\\])$", joined, re.MULTILINE)
    return [one.strip() for one in found]


def pairs_of(output: str, request_id: str) -> str:
    (command,) = {one for one in printed_commands(output) if "REQUEST_ID" in one}
    return command.replace("REQUEST_ID", request_id)


def report_of(directory: Path, output: str) -> dict[str, object]:
    command = next(one for one in printed_commands(output) if " report " in one)
    outcome = typed(directory, f"{command} --json")
    assert outcome.returncode == 0, outcome.stderr
    found: dict[str, object] = json.loads(outcome.stdout)
    return found


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[type[RunningDemo]]:
    started: list[RunningDemo] = []

    def start(*arguments: str, **options: object) -> RunningDemo:
        started.append(RunningDemo(tmp_path, arguments, **options))
        return started[-1]

    yield start
    for demo in started:
        demo.destroy()


def test_all_flights_are_answered_and_accounted_for_and_the_next_demo_goes_on_from_there(start_demo, tmp_path):
    demo = start_demo("--once", "--flights", str(FLIGHTS), "--rate", "5000")
    status = demo.wait()
    output = demo.output()

    assert status == 0, output
    assert f"{FLIGHTS} flights answered, none failed" in output
    report = report_of(tmp_path, output)
    assert report["requests"]["outcomes"]["2xx"] == report["requests"]["total"] == FLIGHTS
    assert set(report["challengers"]) == {"2", "3"}
    for challenger in report["challengers"].values():
        assert challenger["balanced"]
        assert challenger["eligible"] == FLIGHTS
        assert challenger["sampled_out"] + challenger["sent"] + sum(challenger["skipped"].values()) == FLIGHTS
        assert challenger["agreement"]["compared"] == challenger["pairs"] == challenger["stored"] > 0
    second = report["challengers"]["2"]["agreement"]
    share, lower, upper = (f"{second[key]:.1%}" for key in ("share", "lower", "upper"))
    assert f"version 2 agrees with the champion in {share} ({lower} to {upper})" in output
    assert {"carrier", "origin"} == set(report["challengers"]["2"]["slices"])

    following = start_demo("--once", "--flights", "20", "--rate", "5000")
    assert following.wait() == 0, following.output()
    assert f"from number {FLIGHTS + 1} on, where the last demo ended" in following.output()
    assert json.loads((demo.kept / "replay.json").read_text()) == {"next_flight": FLIGHTS + 20}
    assert report_of(tmp_path, following.output())["requests"]["total"] == FLIGHTS + 20


def test_what_is_printed_works_when_it_is_typed_and_ctrl_c_ends_everything(start_demo, tmp_path):
    demo = start_demo(*NEVER_THROUGH)
    output = demo.until(" flights; ")
    pids = demo.gateway_pids()
    curl, report, *_ = commands = printed_commands(output)

    assert [shlex.split(one)[0].rpartition("/")[2] for one in commands] == ["curl", "tiltyard", "tiltyard"]
    assert all(len(line) <= 80 for line in curl.splitlines())
    answer = typed(tmp_path, f"{curl} -s --noproxy '*'")
    head, _, body = answer.stdout.partition("\n\n")
    assert "HTTP/1.1 200" in head, answer
    assert json.loads(body)["outputs"][0]["name"] == "label"
    assert json.loads(body)["id"] == json.loads((demo.kept / "flight.json").read_text())["id"]

    # The champion flags this flight and version 2 does not, which is why it is the example.
    request_id = re.search(r"x-request-id: (\S+)", head)[1]
    shown = eventually(
        lambda: (found := typed(tmp_path, pairs_of(output, request_id))).returncode == 0 and found.stdout,
        "the pair of the answers is kept",
    )
    assert "B6" in shown
    assert typed(tmp_path, report).returncode == 0

    assert demo.interrupt() == 0, demo.output()
    assert not any(map(is_running, pids))
    assert "Stopped. " in demo.output()
    assert ", none failed" in demo.output()
    # What was kept is read without the gateway, by the same command.
    assert report_of(tmp_path, demo.output())["challengers"]["2"]["balanced"]


def test_the_demo_serves_on_when_the_flights_are_through_and_a_saved_edit_is_live(start_demo, tmp_path):
    kept = tmp_path / "state" / "demo"
    kept.mkdir(parents=True)
    (kept / "replay.json").write_text('{"next_flight": 5000}')
    demo = start_demo("--from-start", "--flights", "20", "--rate", "5000")
    output = demo.until("All flights are through. The gateway keeps serving until Ctrl-C.")
    curl = printed_commands(output)[0]
    text = (kept / "demo.yaml").read_text()
    edited = text.replace('champion: "1"', 'champion: "2"').replace('"2": {percent: 100}', '"1": {percent: 100}')

    def answer() -> str:
        return typed(tmp_path, f"{curl} -s --noproxy '*'").stdout

    assert "x-model-version: 1" in answer()
    (kept / "demo.yaml").write_text(edited)
    eventually(lambda: "x-model-version: 2" in answer(), "version 2 answers")
    (kept / "demo.yaml").write_text(edited.replace("champion:", "champoin:"))
    assert "not applied: demo.yaml:" in demo.until("did you mean 'champion'?")
    pids = demo.gateway_pids()
    # Ctrl-C again does not wait; two at once may be seen as one.
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.interrupt() in (0, 1), demo.output()
    eventually(lambda: not any(map(is_running, pids)), "the gateway is gone", ENDS_WITHIN_S)
    assert json.loads((kept / "replay.json").read_text()) == {"next_flight": 20}


def test_a_taken_port_is_said_in_a_sentence_with_ports_that_are_free(start_demo):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = start_demo("--once", "--flights", "1", ports=(port, 0))
        status = demo.wait()

    assert status == 1
    sentence, _, command = demo.output().strip().splitlines()[-3:]
    assert sentence == (
        f"tiltyard demo: listen.inference: cannot listen on 127.0.0.1:{port}: the address is in use by another process"
    )
    assert re.fullmatch(r"\S*tiltyard demo --port \d+ --admin-port \d+", command.strip())
    assert "Traceback" not in demo.output()


def test_a_second_demo_on_the_same_state_is_refused_and_changes_nothing(start_demo):
    demo = start_demo(*NEVER_THROUGH)
    demo.until(" flights; ")
    before = (demo.kept / "demo.yaml").read_bytes()
    second = start_demo("--once", "--flights", "1", ports=(1024, 1025))

    assert second.wait() == 1
    assert "is in use by another gateway (pid " in second.output()
    assert re.search(r"tiltyard demo --state state/demo-2 --port \d+ --admin-port \d+", second.output())
    assert (demo.kept / "demo.yaml").read_bytes() == before

    # A demo that is killed takes its gateway along.
    pids = demo.gateway_pids()
    demo.process.kill()
    demo.wait()
    eventually(lambda: not any(map(is_running, pids)), "the gateway is gone", ENDS_WITHIN_S)
    assert '"demo-gone"' in (demo.kept / "gateway.log").read_text()


def test_a_gateway_that_ends_by_itself_ends_the_demo_and_is_no_success(start_demo):
    demo = start_demo(*NEVER_THROUGH)
    demo.until(" flights; ")
    os.kill(demo.gateway_pids()[0], signal.SIGTERM)

    assert demo.wait() == 1
    assert "the gateway has ended by itself with status 0; see" in demo.output()


def test_ctrl_c_before_the_gateway_serves_stops_it_too(start_demo):
    demo = start_demo(*NEVER_THROUGH)
    demo.until("Starting a gateway")

    assert demo.interrupt() == 0, demo.output()
    assert not (demo.kept / "gateway.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rate", "0"), "--rate"),
        (("--flights", "0"), "--flights"),
        (("--port", "70000"), "--port"),
        (("--port", "9000", "--admin-port", "9000"), "a port each"),
    ],
)
def test_wrong_use_is_refused_with_status_2(tmp_path, arguments, words):
    outcome = typed(tmp_path, shlex.join([str(TILTYARD), "demo", *arguments]))

    assert outcome.returncode == 2
    assert words in outcome.stderr
    assert list(tmp_path.iterdir()) == []
