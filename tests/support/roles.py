"""Roles of a few lines for the tests of the supervisor, so that what they prove is about processes alone.

`python -m tests.support.roles --config FILE` is a whole gateway whose worker and shadow are these; control and model
servers are the real ones. The environment says how they misbehave:

    TEST_WORKER=refuse|crash|hang-in-start|hang-in-drain|fail-apply
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from gateway.core.snapshot import Snapshot
from gateway.runtime.child import ChildContext, Role, StartRefused
from gateway.runtime.launch import launch
from gateway.runtime.session import MakeRole, main, role_maker


class Told:
    """Writes down what a role is told, in the order it is told, for all roles in one file."""

    def __init__(self, context: ChildContext):
        self._path = context.state / "told.jsonl"
        self._name = context.name

    def __call__(self, what: str, config_id: str = "") -> None:
        line = json.dumps({"name": self._name, "pid": os.getpid(), "what": what, "id": config_id})
        with self._path.open("a") as file:
            file.write(line + "\n")


class ScriptedWorker:
    """Answers every request with its process id and the id of its snapshot."""

    def __init__(self, context: ChildContext):
        self._context = context
        self._told = Told(context)
        self._manner = os.environ.get("TEST_WORKER", "")
        self._snapshot_id = ""

    async def start(self, snapshot: Snapshot) -> None:
        if self._manner == "refuse":
            raise StartRefused("the test wants it so")
        if self._manner == "crash":
            os._exit(7)
        if self._manner == "hang-in-start":
            self._told("starts")
            await asyncio.Event().wait()
        self._snapshot_id = snapshot.id
        self._told("start", snapshot.id)
        self._server = await asyncio.start_server(self._answer, sock=self._context.sockets["inference"])

    async def apply(self, snapshot: Snapshot) -> None:
        if self._manner == "fail-apply":
            raise ValueError("the test wants it so")
        self._told("apply", snapshot.id)
        self._snapshot_id = snapshot.id

    async def drain(self) -> None:
        self._told("drain")
        self._server.close()
        if self._manner == "hang-in-drain":
            await asyncio.Event().wait()
        self._told("drained")

    def status(self) -> dict[str, object]:
        return {"unreachable": ["echo/1 127.0.0.1:9"]}

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"pid": os.getpid(), "config_id": self._snapshot_id}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


class ScriptedShadow:
    """Remembers nothing but writes down what it should."""

    def __init__(self, context: ChildContext):
        self._told = Told(context)

    async def remember(self, snapshot: Snapshot) -> None:
        self._told("remember", snapshot.id)

    async def start(self, snapshot: Snapshot) -> None:
        self._told("start", snapshot.id)

    async def apply(self, snapshot: Snapshot) -> None:
        self._told("apply", snapshot.id)

    async def drain(self) -> None:
        self._told("drain")
        self._told("drained")

    def status(self) -> dict[str, object]:
        return {}


def find_role(role: str) -> MakeRole:
    roles: dict[str, MakeRole] = {"worker": make_worker, "shadow": make_shadow}
    return roles.get(role) or role_maker(role)


def make_worker(context: ChildContext) -> Role:
    return ScriptedWorker(context)


def make_shadow(context: ChildContext) -> Role:
    return ScriptedShadow(context)


if __name__ == "__main__":
    if sys.argv[1] == "--config":
        workers = int(sys.argv[4]) if sys.argv[3:4] == ["--workers"] else None
        sys.exit(launch(Path(sys.argv[2]), workers, module="tests.support.roles"))
    main(find_role)
