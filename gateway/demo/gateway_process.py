"""The gateway that the demo starts: `kept` in a session of its own, so that a Ctrl-C reaches the demo alone.

The demo stops first and asks for a last report; then it stops the gateway. What the gateway writes goes to files.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import msgspec

from gateway.demo.place import Place
from gateway.runtime.places import Record, read_record

READY_WITHIN_S: Final = 60.0
LOOK_EVERY_S: Final = 0.02


class GatewayFailed(Exception):
    """The gateway does not come up, or has ended as it should not; the text says what there is to say."""


class _Event(msgspec.Struct):
    """The part of an event that can say why a start failed."""

    event: str = ""
    reason: str = ""


class GatewayProcess:
    """The running gateway; `ended` is done once it is gone.

    As a context it is stopped at the end, and GatewayFailed raised if it ended before or not well.
    """

    def __init__(self, place: Place, process: asyncio.subprocess.Process):
        self._place = place
        self._process = process
        self._told = False
        self.ended = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, place: Place) -> GatewayProcess:
        """Start it; it is not ready yet."""
        with place.events.open("ab") as events, place.access_log.open("ab") as access_log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "gateway.demo.kept",
                str(place.config),
                stdin=asyncio.subprocess.PIPE,
                stdout=access_log,
                stderr=events,
                start_new_session=True,
            )
        return cls(place, process)

    async def until_ready(self) -> Record:
        """Wait until it serves, and where. Raises GatewayFailed."""
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not self.ended.done():
                    record = read_record(self._place.directory)
                    if record is not None and record.pid == self._process.pid:
                        return record
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise GatewayFailed(f"the gateway is not ready within {READY_WITHIN_S:g} s") from None
        raise GatewayFailed(self._last_words())

    async def __aenter__(self) -> Self:
        """Begin to rely on it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell it to finish, and wait for its end."""
        unasked = self.ended.done() and not self._told
        self._send(signal.SIGTERM)
        status = await self.ended
        # SIGTERM ends a process that has no handler for it yet.
        if error is None and (unasked or status not in (0, -signal.SIGTERM)):
            how = "by itself " if unasked else ""
            raise GatewayFailed(f"the gateway has ended {how}with status {status}; see {self._place.events}")

    def hurry(self) -> None:
        """Let it stop without waiting for what still runs."""
        self._send(signal.SIGTERM)
        self._send(signal.SIGINT)

    def _send(self, number: signal.Signals) -> None:
        self._told = True
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _last_words(self) -> str:
        """Why it has ended: its own sentences, which are the lines of its log that are no events."""
        lines = self._place.events.read_text("utf-8", errors="replace").splitlines()
        sentences = [line.removeprefix("tiltyard: ") for line in lines if not line.startswith("{")]
        for line in lines:
            with suppress(msgspec.MsgspecError):
                event = msgspec.json.decode(line, type=_Event)
                if event.event == "start-failed" and event.reason:
                    sentences.append(event.reason)
        return "\n".join(sentences) or f"the gateway has ended with status {self._process.returncode}"
