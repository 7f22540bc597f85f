"""The running part of the demo: replays, looks at what the gateway says, and keeps the screen up to date."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from time import monotonic
from typing import Final

from gateway.demo.place import Place
from gateway.demo.replay import Course, Replay, reasons
from gateway.demo.screen import Phase, Progress, Screen, Section, VersionLine
from gateway.demo.standing import Standing
from gateway.evidence.report_document import ChallengerReport, Latency

LOOK_EVERY_S: Final = 3.0
RATE_OVER_S: Final = 5.0
MOST_REASONS: Final = 2


class Show:
    """One run over a course. `run` it, then ask `replay.tally`, `versions` and `troubles` what came of it."""

    def __init__(self, replay: Replay, course: Course, standing: Standing, screen: Screen, place: Place):
        self.replay = replay
        self._course = course
        self._standing = standing
        self._screen = screen
        self._place = place
        self._pace = Pace()
        self._phase: Phase = "replaying"
        self._unsettled = False

    async def run(self, stop: asyncio.Event, ended: asyncio.Task[int], *, once: bool) -> None:
        """Until told to stop or the gateway has ended; with `once`, until all flights are. Then until at rest."""
        replaying = asyncio.create_task(self.replay.run())
        looking, drawing = asyncio.create_task(self._look()), asyncio.create_task(self._draw())
        stopping = asyncio.create_task(stop.wait())
        try:
            await _first(replaying, stopping, ended, looking, drawing)
            if not (once or stopping.done() or ended.done()):
                self._screen.say(Section("All flights are through. The gateway keeps serving until Ctrl-C.", []))
                self._enter("through")
                await _first(stopping, ended, looking, drawing)
            self._enter("stopping")
            self.replay.stop()
            await replaying
            await _cancel(looking)
            self._remember()
            await self._rest(ended)
        finally:
            await _cancel(looking, drawing, stopping, replaying)
        self._screen.progress(self._progress())

    def versions(self) -> Iterator[VersionLine]:
        """The champion and its challengers as the gateway reports them."""
        report = self._standing.report
        if report is None:
            return
        challengers = list(self._standing.challengers())
        champion = report.requests.by_version.get(report.champion)
        seen = next((one.latency.champion for _, one in challengers if one.latency.champion), None)
        yield VersionLine(report.champion, True, champion.total if champion else 0, p99_ms=_p99_ms(seen))
        yield from (_challenger(name, one) for name, one in challengers)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._screen.progress(self._progress())

    async def _rest(self, ended: asyncio.Task[int]) -> None:
        """Wait until every request is accounted for, if the gateway lives so long."""
        resting = asyncio.create_task(self._standing.look_at_rest())
        await _first(resting, ended)
        self._unsettled = not (resting.done() and resting.result())
        await _cancel(resting)

    async def _look(self) -> None:
        """Ask the gateway every few seconds, and note how far the replay has come."""
        while True:
            await self._standing.look()
            self._remember()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _draw(self) -> None:
        while True:
            self._screen.progress(self._progress())
            await asyncio.sleep(self._screen.every_s)

    def _remember(self) -> None:
        self._place.remember(self._course.first + self.replay.tally.sent)

    def _progress(self) -> Progress:
        tally = self.replay.tally
        return Progress(
            phase=self._phase,
            done=self._course.before + tally.sent,
            total=self._course.total,
            at=tally.at,
            per_second=self._pace.of(tally.sent),
            p50_ms=_ms(tally.latency_s(0.5)),
            p99_ms=_ms(tally.latency_s(0.99)),
            failed=tally.failed.total(),
            troubles=list(self.troubles()),
            versions=list(self.versions()),
        )

    def troubles(self) -> Iterator[str]:
        """Everything that is not as it should be, in a line each."""
        yield from (f"failed: {reason}" for reason in reasons(self.replay.tally.failed))
        for name, one in self._standing.challengers():
            for reason, count in lost(one).most_common(MOST_REASONS):
                yield f"version {name}: {count:,} lost, {reason}"
        if self._unsettled:
            yield "not every request is accounted for yet"
        if self._standing.trouble:
            yield f"no news of the gateway: {self._standing.trouble}"
        if self._standing.reload.outcome == "refused":
            config = self._place.config
            for error in self._standing.reload.errors[:MOST_REASONS]:
                yield f"not applied: {error.replace(str(config.absolute()), config.name)}"


class Pace:
    """How many per second, over the last few seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, count: int) -> float:
        """Take note of the count now; the rate up to now."""
        now = monotonic()
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()
        began, before = self._seen[0]
        return (count - before) / (now - began) if now > began else 0.0


def lost(one: ChallengerReport) -> Counter[str]:
    """Eligible requests of a challenger that it did not answer, or whose pair is not kept, by reason."""
    ended_badly = {"error": one.error, "timeout": one.timeout, "cancelled": one.cancelled}
    unstored = {f"unstored {reason}": count for reason, count in one.unstored.items()}
    return +Counter({**one.skipped, **ended_badly, **unstored})


def _challenger(name: str, one: ChallengerReport) -> VersionLine:
    agreement = one.agreement
    return VersionLine(
        name=name,
        is_champion=False,
        requests=one.sent,
        lost=lost(one).total(),
        share=agreement.share,
        lower=agreement.lower,
        upper=agreement.upper,
        p99_ms=_p99_ms(one.latency.challenger),
    )


def _p99_ms(latency: Latency | None) -> float | None:
    return latency.p99_us / 1000 if latency is not None else None


def _ms(seconds: float | None) -> float | None:
    return seconds * 1000 if seconds is not None else None


async def _first(*tasks: asyncio.Task[object]) -> None:
    """Wait until one of them is done; an error that ended it is raised here."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
