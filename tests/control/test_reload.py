"""Passes over the configuration file, with a supervisor of the test's own behind the port."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.control.reload import Outcome, Reloader, Source, signature
from gateway.control.status import GatewayStatus
from gateway.core.configfile import load_config
from gateway.core.counters import Counters
from gateway.core.metrics import RELOAD_OK, RELOADS
from gateway.core.snapshot import Snapshot, compile_snapshot
from tests.support.configurations import RUNTIME_DIRECTORY
from tests.support.gateway_process import Json, one_model


class Supervisor:
    """Rolls out whatever it gets, unless told otherwise, and keeps count."""

    def __init__(self) -> None:
        self.rolled_out: list[str] = []
        self.errors: tuple[str, ...] = ()
        self.busy = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def status(self) -> GatewayStatus:
        raise OSError("not asked here")

    async def roll_out(self, config_id: str, document: bytes) -> tuple[str, ...]:
        self.busy.set()
        await self.go_on.wait()
        if self.errors == ("lost",):
            raise OSError("the supervisor has not answered within 120 s")
        if not self.errors:
            self.rolled_out.append(config_id)
        return self.errors


class Case:
    """A file, its reloader, and what became of it."""

    def __init__(self, directory: Path, counters: Counters):
        self.path = directory / "gateway.yaml"
        self.write(100)
        self.supervisor = Supervisor()
        self.counters = counters
        self.environment = {"PORT": "200"}
        self.reloader = Reloader(Source(self.path, self.environment), self.supervisor, counters)
        self.reloader.adopt(self.compiled())

    def write(self, port: int | str, **keys: object) -> None:
        self.settings: Json = one_model(f"http://127.0.0.1:{port}", **keys)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.settings))
        partial.replace(self.path)

    def compiled(self) -> Snapshot:
        loaded = load_config(self.path, self.environment)
        assert not isinstance(loaded, list)
        return compile_snapshot(loaded.config, RUNTIME_DIRECTORY)

    def count(self, outcome: str) -> int:
        return self.counters.value(RELOADS, (), outcome)

    def ok(self) -> int:
        return self.counters.value(RELOAD_OK, (), "value")

    async def until(self, outcome: str) -> Outcome:
        """Wait until the watcher has come to this outcome by itself."""
        while self.reloader.last.outcome != outcome:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)
        return self.reloader.last


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    opened = Counters(tmp_path / "counters", "control", capacity=1000)
    yield opened
    opened.close()


Talk = Callable[[Case], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path, counters: Counters) -> Callable[[Talk], None]:
    def converse(talk: Talk) -> None:
        async def conversation() -> None:
            case = Case(tmp_path, counters)
            running = asyncio.create_task(case.reloader.run())
            async with asyncio.timeout(30):
                await talk(case)
            case.reloader.stop()
            await running

        asyncio.run(conversation())

    return converse


def test_before_the_first_pass_the_configuration_started_with_counts_as_good(
    run: Callable[[Talk], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def talk(case: Case) -> None:
        assert case.reloader.last == Outcome("unchanged", case.compiled().id)
        assert case.ok() == 1

    run(talk)
    # The first look at an unchanged file is not worth a line.
    assert capsys.readouterr().err == ""


def test_a_changed_file_is_rolled_out(run: Callable[[Talk], None]) -> None:
    async def talk(case: Case) -> None:
        case.write(101)
        outcome = await case.until("applied")
        assert outcome.config_id == case.compiled().id
        assert case.supervisor.rolled_out == [outcome.config_id]
        assert (case.count("applied"), case.count("refused"), case.ok()) == (1, 0, 1)

    run(talk)


def test_what_the_file_says_in_other_words_is_no_change(run: Callable[[Talk], None]) -> None:
    async def talk(case: Case) -> None:
        case.write(100, workers=1)
        assert (await case.reloader.reload()).outcome == "unchanged"
        assert case.supervisor.rolled_out == []

    run(talk)


def test_a_file_that_is_not_valid_is_refused_with_all_its_errors(run: Callable[[Talk], None]) -> None:
    async def talk(case: Case) -> None:
        case.path.write_text("workers: none\nmodles: {}\n")
        outcome = await case.until("refused")
        assert outcome.config_id == Case.compiled(rewritten(case)).id
        assert len(outcome.errors) == 3
        assert (case.count("refused"), case.ok()) == (1, 0)

    def rewritten(case: Case) -> Case:
        case.write(100)
        return case

    run(talk)


def test_a_refused_file_is_refused_once(run: Callable[[Talk], None]) -> None:
    async def talk(case: Case) -> None:
        case.path.write_text("models: 7\n")
        await case.until("refused")
        for _ in range(40):
            await asyncio.sleep(0.01)
        assert case.count("refused") == 1

    run(talk)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (("model m/2: no such thing",), "model m/2: no such thing"),
        (("lost",), "the supervisor has not answered within 120 s"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(run: Callable[[Talk], None], errors: tuple[str, ...], said: str) -> None:
    async def talk(case: Case) -> None:
        case.supervisor.errors = errors
        case.write(101)
        outcome = await case.reloader.reload()
        assert (outcome.outcome, outcome.errors) == ("refused", (said,))
        assert case.ok() == 0

    run(talk)


def test_keys_that_are_read_at_start_only_are_refused_by_name(run: Callable[[Talk], None]) -> None:
    async def talk(case: Case) -> None:
        case.write(101, workers=3, listen={"inference": "127.0.0.1:0", "admin": "127.0.0.1:81"})
        outcome = await case.reloader.reload()
        assert [error.partition(":")[0] for error in outcome.errors] == ["listen", "workers"]
        assert case.supervisor.rolled_out == []

    run(talk)


def test_who_asks_during_a_pass_gets_the_outcome_of_the_next(run: Callable[[Talk], None]) -> None:
    async def talk(case: Case) -> None:
        case.supervisor.go_on.clear()
        case.write(101)
        await case.supervisor.busy.wait()
        second = asyncio.create_task(case.reloader.reload())
        third = asyncio.create_task(case.reloader.reload())
        await asyncio.sleep(0)
        case.reloader.adopt(case.compiled())
        case.write(102)
        case.supervisor.go_on.set()
        assert (await second) == (await third)
        assert second.result().config_id == case.compiled().id
        assert len(case.supervisor.rolled_out) == 2

    run(talk)


def test_an_operators_wish_is_answered_though_nothing_changed(
    run: Callable[[Talk], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def talk(case: Case) -> None:
        case.reloader.ask()
        assert (await case.reloader.reload()).outcome == "unchanged"

    run(talk)
    assert '"event":"config-unchanged"' in capsys.readouterr().err


def test_variables_are_filled_from_the_environment(run: Callable[[Talk], None]) -> None:
    async def talk(case: Case) -> None:
        case.write("${PORT}")
        outcome = await case.reloader.reload()
        assert outcome.outcome == "applied"
        case.write("${MISSING}")
        assert "MISSING" in (await case.reloader.reload()).errors[0]

    run(talk)


def test_a_file_that_never_rests_is_read_all_the_same(
    run: Callable[[Talk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def talk(case: Case) -> None:
        def restless(path: Path) -> object:
            nonlocal looks
            looks += 1
            return looks

        monkeypatch.setattr("gateway.control.reload.signature", restless)
        case.write(101)
        assert (await case.reloader.reload()).outcome == "applied"

    run(talk)
    assert looks > 1


def test_warnings_are_said(run: Callable[[Talk], None], capsys: pytest.CaptureFixture[str]) -> None:
    async def talk(case: Case) -> None:
        settings = one_model("http://127.0.0.1:101")
        settings["models"]["echo"]["versions"]["spare"] = {"urls": ["http://127.0.0.1:9"]}
        settings["models"]["echo"]["challengers"] = {"spare": {"percent": 0}}
        case.path.write_text(json.dumps(settings))
        loaded = load_config(case.path, {})
        assert not isinstance(loaded, list)
        expected = [str(warning) for warning in loaded.warnings]
        await case.reloader.reload()
        said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        assert [one["message"] for one in said if one["event"] == "config-warning"] == expected

    run(talk)


def edited(path: Path) -> None:
    path.write_text("b")


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("a")
    stamp = path.stat()
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    other.replace(path)


def removed(path: Path) -> None:
    path.unlink()


def relinked(path: Path) -> None:
    path.rename(path.with_name("target"))
    path.symlink_to("target2")
    path.with_name("target2").write_text("a")


@pytest.mark.parametrize("change", [edited, replaced, removed, relinked])
def test_every_way_to_change_a_file_changes_its_signature(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    before = signature(path)
    assert before == signature(path)

    change(path)

    assert signature(path) != before
