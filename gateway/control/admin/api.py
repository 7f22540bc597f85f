"""Every path of the admin listener and what is answered there.

`Api.endpoints` is the one table: routes, the OpenAPI document and docs are made of it. What reads
files runs in a thread, because `/livez` must answer meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, ParamSpec, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import gateway
from gateway.control.admin.page import page
from gateway.control.admin.problems import AdminProblem, Refused
from gateway.control.exposition import render
from gateway.control.reload import Outcome, Reloader
from gateway.control.status import GatewayStatus, ProcessStatus, Supervisor
from gateway.core.config import canonical
from gateway.core.pair import Pair
from gateway.core.ports import PairStoreError
from gateway.core.snapshot import Model, Snapshot
from gateway.evidence.report_document import Report

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


class Evidence(Protocol):
    """What the state directory holds about pairs. Both calls block."""

    def report(self, snapshot: Snapshot, model: str) -> Report:
        """The report on one model. Raises PairStoreError."""
        ...

    def pairs(self, request_id: str) -> Sequence[Pair]:
        """The pairs of one request, one per challenger. Raises PairStoreError."""
        ...


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["live"] = "live"


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests are served, and what an operator should know about it.

    `unreachable` names backends; one that does not answer makes its own model fail, not the
    gateway unready.
    """

    status: Literal["ready", "not-ready", "stopping"]
    config_id: str
    reload: Outcome
    unreachable: tuple[str, ...]
    inference: str
    admin: str
    processes: tuple[ProcessStatus, ...]


class ChallengerSummary(msgspec.Struct, frozen=True):
    """One dark-launched version."""

    version: str
    percent: float


class ModelSummary(msgspec.Struct, frozen=True):
    """One model as it is configured."""

    name: str
    owner: str | None
    protocol: str
    champion: str
    challengers: tuple[ChallengerSummary, ...]
    versions: tuple[str, ...]


class Models(msgspec.Struct, frozen=True):
    """Every model of the configuration in force."""

    config_id: str
    models: tuple[ModelSummary, ...]


class Configuration(msgspec.Struct, frozen=True):
    """The configuration in force, defaults included."""

    config_id: str
    config: msgspec.Raw


class Pairs(msgspec.Struct, frozen=True):
    """The pairs of one request."""

    request_id: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method at one path. `answer` is the type of the 200 body: a struct, or a content type
    where it is none.
    """

    path: str
    method: Literal["GET", "POST"]
    name: str
    summary: str
    answer: type[msgspec.Struct] | str
    handle: Callable[[Request], Awaitable[Response]]
    problems: tuple[AdminProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where answers come from. `snapshot` gives the configuration in force."""

    supervisor: Supervisor
    reloader: Reloader
    snapshot: Callable[[], Snapshot]
    counters: Path
    evidence: Evidence


class Api:
    """The handlers."""

    def __init__(self, sources: Sources):
        self._sources = sources
        self._metrics_turn = asyncio.Lock()
        self.endpoints = (*self._health(), *self._documents())

    def _health(self) -> tuple[Endpoint, ...]:
        unavailable = (AdminProblem.UNAVAILABLE,)
        return (
            Endpoint("/livez", "GET", "live", "Whether the control process answers", Live, self.livez),
            Endpoint(
                "/readyz",
                "GET",
                "ready",
                "Whether requests are served (200 or 503): processes, last reload, unreachable backends",
                Readiness,
                self.readyz,
                unavailable,
            ),
            Endpoint(
                "/metrics",
                "GET",
                "metrics",
                "All metrics in the Prometheus text format",
                "text/plain",
                self.metrics,
                unavailable,
            ),
        )

    def _documents(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint(
                "/api/models",
                "GET",
                "models",
                "Every model of the configuration in force",
                Models,
                self.models,
            ),
            Endpoint(
                "/api/models/{model}/report",
                "GET",
                "report",
                "Champion and challengers of one model: counts, agreement, differences, latency",
                Report,
                self.report,
                (AdminProblem.MODEL_NOT_FOUND, AdminProblem.UNAVAILABLE),
            ),
            Endpoint(
                "/api/pairs/{request_id}",
                "GET",
                "pairs",
                "The answers to one request, side by side",
                Pairs,
                self.pairs,
                (AdminProblem.PAIR_NOT_FOUND, AdminProblem.UNAVAILABLE),
            ),
            Endpoint(
                "/api/config",
                "GET",
                "config",
                "The configuration in force",
                Configuration,
                self.config,
            ),
            Endpoint(
                "/api/reload",
                "POST",
                "reload",
                "Read the configuration file again, and apply it if it is valid",
                Outcome,
                self.reload,
                (AdminProblem.CONFIG_REFUSED,),
            ),
            Endpoint("/", "GET", "page", "A page that leads to all of this", "text/html", self.page),
        )

    async def livez(self, request: Request) -> Response:
        """This process answers; nothing else is asked."""
        return _json(Live())

    async def readyz(self, request: Request) -> Response:
        """How every process does."""
        status = await self._status()
        word: Literal["ready", "not-ready", "stopping"] = "ready" if status.is_ready() else "not-ready"
        if status.draining:
            word = "stopping"
        readiness = Readiness(
            status=word,
            config_id=status.config_id,
            reload=self._sources.reloader.last,
            unreachable=tuple(status.unreachable()),
            inference=status.inference,
            admin=status.admin,
            processes=status.processes,
        )
        return _json(readiness, 200 if word == "ready" else 503)

    async def metrics(self, request: Request) -> Response:
        """Everything that is counted."""
        status = await self._status()
        accept = request.headers.get("accept", "")
        # One at a time: two scrapers must not make two threads count the same.
        async with self._metrics_turn:
            content, kind = await asyncio.to_thread(render, self._sources.counters, status, accept)
        return Response(content, headers={"content-type": kind})

    async def models(self, request: Request) -> Response:
        """What is served."""
        snapshot = self._sources.snapshot()
        return _json(Models(snapshot.id, tuple(_summary(snapshot, model) for model in snapshot.models.values())))

    async def report(self, request: Request) -> Response:
        """The evidence on one model."""
        snapshot, model = self._sources.snapshot(), str(request.path_params["model"])
        if model not in snapshot.models:
            raise Refused(AdminProblem.MODEL_NOT_FOUND, f"there is no model {model!r}")
        return _json(await _ask(self._sources.evidence.report, snapshot, model))

    async def pairs(self, request: Request) -> Response:
        """The evidence on one request."""
        request_id = str(request.path_params["request_id"])
        found = await _ask(self._sources.evidence.pairs, request_id)
        if not found:
            raise Refused(AdminProblem.PAIR_NOT_FOUND, f"there is no pair of request {request_id!r}")
        return _json(Pairs(request_id, tuple(found)))

    async def config(self, request: Request) -> Response:
        """What is in force."""
        snapshot = self._sources.snapshot()
        return _json(Configuration(snapshot.id, msgspec.Raw(canonical(snapshot.config))))

    async def reload(self, request: Request) -> Response:
        """Read the file now."""
        outcome = await self._sources.reloader.reload()
        if outcome.outcome == "refused":
            detail = f"{len(outcome.errors)} error(s); {outcome.config_id} stays in force"
            raise Refused(AdminProblem.CONFIG_REFUSED, detail, outcome.errors)
        return _json(outcome)

    async def page(self, request: Request) -> Response:
        """For people."""
        snapshot = self._sources.snapshot()
        content = page(gateway.__version__, snapshot.id, list(snapshot.models))
        return Response(content, media_type="text/html")

    async def _status(self) -> GatewayStatus:
        try:
            return await self._sources.supervisor.status()
        except OSError as error:
            raise Refused(AdminProblem.UNAVAILABLE, str(error)) from error


def _summary(snapshot: Snapshot, model: Model) -> ModelSummary:
    return ModelSummary(
        name=model.name,
        owner=snapshot.config.models[model.name].owner,
        protocol=model.protocol,
        champion=model.champion.name,
        challengers=tuple(
            ChallengerSummary(challenger.version.name, challenger.settings.percent) for challenger in model.challengers
        ),
        versions=tuple(model.versions),
    )


async def _ask(question: Callable[Asked, Answer], *about: Asked.args, **how: Asked.kwargs) -> Answer:
    """Ask the store in a thread."""
    try:
        return await asyncio.to_thread(question, *about, **how)
    except PairStoreError as error:
        raise Refused(AdminProblem.UNAVAILABLE, str(error)) from error


def _json(document: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, media_type="application/json")
