"""The child's side of questions to the supervisor: numbered, answered in any order, never waited
for without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from gateway.control.status import GatewayStatus
from gateway.runtime.line import (
    Line,
    ReloadRequest,
    ReloadResult,
    StatusReply,
    StatusRequest,
    ToChild,
)

STATUS_PATIENCE_S: Final = 2.0
ROLL_OUT_PATIENCE_S: Final = 300.0
"""A roll-out may wait for model servers to load their files."""


Answer = TypeVar("Answer")


class SupervisorLink:
    """`gateway.control.status.Supervisor` over the line."""

    def __init__(self, line: Line[ToChild]):
        self._line = line
        self._numbers = count(1)
        self._statuses: dict[int, asyncio.Future[GatewayStatus]] = {}
        self._results: dict[int, asyncio.Future[tuple[str, ...]]] = {}

    async def status(self) -> GatewayStatus:
        """How every process does. Raises OSError when the supervisor does not answer."""
        return await self._ask(self._statuses, StatusRequest, STATUS_PATIENCE_S)

    async def roll_out(self, config_id: str, document: bytes) -> tuple[str, ...]:
        """Bring a validated configuration to every process; the reasons why not, or nothing."""
        return await self._ask(
            self._results,
            lambda number: ReloadRequest(number, config_id, document),
            ROLL_OUT_PATIENCE_S,
        )

    def answered(self, message: StatusReply | ReloadResult) -> None:
        """Hand an answer to whoever asked; too late an answer is dropped."""
        match message:
            case StatusReply():
                status = self._statuses.get(message.number)
                if status is not None and not status.done():
                    status.set_result(message.status)
            case ReloadResult():
                result = self._results.get(message.number)
                if result is not None and not result.done():
                    result.set_result(message.errors)

    async def _ask(
        self,
        pending: dict[int, asyncio.Future[Answer]],
        question: Callable[[int], StatusRequest | ReloadRequest],
        patience_s: float,
    ) -> Answer:
        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        pending[number] = future
        self._line.send(question(number))
        try:
            async with asyncio.timeout(patience_s):
                return await future
        except TimeoutError:
            raise OSError(f"the supervisor has not answered within {patience_s:g} s") from None
        finally:
            del pending[number]
