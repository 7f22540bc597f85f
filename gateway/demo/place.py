"""The demo's directory: its routing file, an example request, the gateway's logs, and how far the replay has come.

The routing file is configs/demo.yaml with the demo's own ports, its own directory as state and the models where they
are installed; the wheel carries a copy. Nothing is written into a directory that a running gateway holds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.demo.flights import DATA, Flight
from gateway.runtime.places import StateDirectory

PACKAGED_CONFIG: Final = DATA / "demo.yaml"
TREE_CONFIG: Final = Path(__file__).parents[2] / "configs" / "demo.yaml"

_HEAD: Final = """\
# Written by `tiltyard demo` at each start, from the example in configs/demo.yaml.
#
# Change something while the demo runs, and save: it is live within a second and no request is lost. Let version 2
# answer, say: make it the champion, and "1" the challenger in its place. A file with a mistake changes nothing;
# `tiltyard check` says what is wrong and where.
"""
_FIRST_KEY: Final = "\nlisten:"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports on 127.0.0.1 of the two listeners."""

    inference: int
    admin: int


class _Position(msgspec.Struct):
    next_flight: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demo keeps what it keeps."""

    directory: Path

    @property
    def config(self) -> Path:
        """The routing file, to be edited while the gateway runs."""
        return self.directory / "demo.yaml"

    @property
    def example(self) -> Path:
        """The body of a request, for `curl -d @FILE`."""
        return self.directory / "flight.json"

    @property
    def events(self) -> Path:
        """What the gateway says about itself."""
        return self.directory / "gateway.log"

    @property
    def access_log(self) -> Path:
        """One line per request."""
        return self.directory / "access.log"

    def prepare(self, ports: Ports, example: Flight) -> None:
        """Write the files. Raises PlaceTaken when a gateway runs here or nothing can be written here."""
        held = StateDirectory.hold(self.directory)
        try:
            self.config.write_text(routing_text(template().read_text("utf-8"), ports), "utf-8")
            self.example.write_text(readable_request(example), "utf-8")
            for log in (self.events, self.access_log):
                log.write_bytes(b"")
        finally:
            held.release()

    def next_flight(self) -> int:
        """The index of the first flight that no run here has replayed."""
        try:
            return max(0, msgspec.json.decode(self._position.read_bytes(), type=_Position).next_flight)
        except (OSError, msgspec.MsgspecError):
            return 0

    def remember(self, next_flight: int) -> None:
        """Note how far the replay has come."""
        partial = self._position.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(_Position(next_flight)))
        partial.replace(self._position)

    @property
    def _position(self) -> Path:
        return self.directory / "replay.json"


def template() -> Path:
    """The example configuration: of the installed package, or of the tree it runs from."""
    return PACKAGED_CONFIG if PACKAGED_CONFIG.exists() else TREE_CONFIG


def routing_text(example: str, ports: Ports) -> str:
    """The example as the demo runs it: comments and all, but for what depends on where it runs."""
    _, found, body = example.partition(_FIRST_KEY)
    text = f"{_HEAD}{found}{body}"
    text = _put(text, _key("  inference"), f'  inference: "127.0.0.1:{ports.inference}"')
    text = _put(text, _key("  admin"), f'  admin: "127.0.0.1:{ports.admin}"')
    text = _put(text, _key("state"), "state: ./")
    for model in ("delay-1.onnx", "delay-2.onnx", "delay-3.onnx"):
        text = _put(text, re.escape(f"../gateway/demo/data/{model}"), _quoted(DATA / model))
    return text


def readable_request(flight: Flight) -> str:
    """The request about a flight with each input on a line of its own."""
    request = json.loads(flight.request_body())
    inputs = ",\n".join(f"  {json.dumps(tensor)}" for tensor in request["inputs"])
    return f'{{"id": {json.dumps(request["id"])}, "inputs": [\n{inputs}\n]}}\n'


def shown(path: Path) -> str:
    """A path as one would type it here: from the working directory where it is below that."""
    try:
        return shlex.quote(str(path.absolute().relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(path.absolute()))


def _quoted(path: Path) -> str:
    """A path as a YAML text in which nothing is taken for a variable."""
    return json.dumps(os.fspath(path), ensure_ascii=False).replace("${", "$${")


def _key(name: str) -> str:
    """A key at the start of a line, its value, and the spaces up to its comment."""
    return rf"(?m)^{name}: \S+ *"


def _put(text: str, pattern: str, new: str) -> str:
    """Replace the one thing like that, so that comments behind it stay in line."""
    changed, found = re.subn(pattern, lambda old: new.ljust(len(old[0])), text)
    if found != 1:
        raise ValueError(f"the example configuration has {found} places like {pattern}, and not one")
    return changed
