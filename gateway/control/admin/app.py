"""The admin listener as an ASGI application, and the server that runs it on an inherited socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.control.admin.api import Api
from gateway.control.admin.door import Door
from gateway.control.admin.openapi import document
from gateway.control.admin.problems import AdminProblem, Refused, response

GRACE_S: Final = 2
OPENAPI_PATH: Final = "/api/openapi.json"


def make_app(api: Api, own_names: frozenset[str] = frozenset()) -> ASGIApp:
    """The application; `own_names` are host names it may be called by, beside addresses."""
    described = Response(msgspec.json.encode(document(api.endpoints)), media_type="application/json")

    async def openapi(request: Request) -> Response:
        return described

    routes = [Route(endpoint.path, endpoint.handle, methods=[endpoint.method]) for endpoint in api.endpoints]
    app = Starlette(
        routes=[*routes, Route(OPENAPI_PATH, openapi)],
        exception_handlers={
            Refused: _refused,
            HTTPException: _http_refused,
            Exception: _failed,
        },
    )
    return Door(app, own_names)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return response(error)


async def _http_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == AdminProblem.METHOD_NOT_ALLOWED.status:
        detail = f"{request.method} is not answered at this path"
        return response(Refused(AdminProblem.METHOD_NOT_ALLOWED, detail), headers)
    return response(Refused(AdminProblem.NOT_FOUND, "there is nothing at this path"), headers)


async def _failed(request: Request, error: Exception) -> Response:
    # Where it failed is logged by uvicorn, which gets the error next.
    return response(Refused(AdminProblem.INTERNAL, "the request could not be answered"))


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: when to stop is the supervisor's to say."""

    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class AdminServer:
    """Serves the application on a listening socket from `start` to `stop`."""

    def __init__(self, app: ASGIApp, listener: socket.socket):
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._serving = asyncio.create_task(self._server.serve([self._listener]))
        await self._server.listening.wait()

    async def stop(self) -> None:
        """Take no more requests, and finish those that run."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
