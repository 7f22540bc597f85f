"""What the gateway itself says while the demo runs: its report on the model, and what became of the last edit.

Asked over the admin listener like anybody else would. Where it does not answer, the last that it said stands,
and `trouble` says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from gateway.demo.caller import Caller, CallFailed
from gateway.demo.replay import MODEL, refusal
from gateway.evidence.report_document import ChallengerReport, Report

ANSWER_S: Final = 10.0
REST_WITHIN_S: Final = 8.0
REST_LOOKS_EVERY_S: Final = 0.1
REPORT_PATH: Final = f"/api/models/{MODEL}/report"
Asked = TypeVar("Asked")


class Reload(msgspec.Struct, frozen=True):
    """What the configuration file as it is now has led to."""

    outcome: str = ""
    config_id: str = ""
    errors: tuple[str, ...] = ()


class _Ready(msgspec.Struct, frozen=True):
    reload: Reload


class Standing:
    """The last report and the last reload; `look` asks anew."""

    def __init__(self, caller: Caller):
        self.report: Report | None = None
        self.reload = Reload()
        self.trouble = ""
        """Why the last question has no answer, or empty."""
        self._caller = caller

    async def look(self) -> None:
        """Ask once."""
        self.trouble = ""
        self.report = await self._get(REPORT_PATH, Report) or self.report
        ready = await self._get("/readyz", _Ready)
        self.reload = ready.reload if ready is not None else self.reload

    async def look_at_rest(self) -> bool:
        """Ask until every request is accounted for; whether that came about in time."""
        try:
            async with asyncio.timeout(REST_WITHIN_S):
                await self.look()
                while not self._is_at_rest():
                    await asyncio.sleep(REST_LOOKS_EVERY_S)
                    await self.look()
                # The counts of a report may be younger than its pairs; those of the next one are all there.
                await self.look()
        except TimeoutError:
            return False
        return not self.trouble

    def challengers(self) -> Iterator[tuple[str, ChallengerReport]]:
        """The challengers of the configuration in force, by name."""
        if self.report is not None:
            yield from ((name, one) for name, one in self.report.challengers.items() if one.active)

    def _is_at_rest(self) -> bool:
        return (
            not self.trouble
            and self.report is not None
            and all(one.balanced for one in self.report.challengers.values())
        )

    async def _get(self, path: str, kind: type[Asked]) -> Asked | None:
        request = f"GET {path} HTTP/1.1\r\nhost: ".encode() + self._caller.authority + b"\r\n\r\n"
        try:
            reply = await self._caller.call(request)
        except CallFailed as failed:
            self.trouble = f"{path}: {failed}"
            return None
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except msgspec.MsgspecError:
            self.trouble = f"{path}: {refusal(reply)}"
            return None
