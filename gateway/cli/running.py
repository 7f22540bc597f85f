"""How commands find the running gateway and talk to it: by `--config FILE` or by `--admin URL`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from gateway.core.config import Address
from gateway.core.configfile import load_config
from gateway.runtime.places import read_record

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file of the running gateway.", metavar="FILE"),
]
AdminOption = Annotated[
    str | None,
    typer.Option("--admin", help="Address of its admin listener.", metavar="URL"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]

CONNECT_S: Final = 2.0
ANSWER_S: Final = 120.0
DEFAULT_ADMIN: Final = Address("127.0.0.1", 8081)
_ADMIN_KEY: Final = re.compile(r"\badmin\s*:\s*[\"']?([^\s\"',}#]+)")


class NotReached(Exception):
    """There is no gateway to talk to, or none that was named; the text says which."""


def admin_url(config: Path | None, admin: str | None) -> str:
    """The base URL of the admin listener. Raises NotReached, or typer's BadParameter for wrong use."""
    if admin is not None:
        return (admin if "://" in admin else f"http://{admin}").rstrip("/")
    if config is None:
        raise typer.BadParameter("name the running gateway by --config FILE or --admin URL")
    return f"http://{_dialled(_admin_address(config))}"


def call(method: str, url: str, patience_s: float = ANSWER_S) -> httpx2.Response:
    """One request to the admin listener. Raises NotReached."""
    timeout = httpx2.Timeout(patience_s, connect=min(CONNECT_S, patience_s))
    try:
        # The proxies of the environment are for elsewhere.
        with httpx2.Client(trust_env=False, timeout=timeout) as client:
            return client.request(method, url)
    except httpx2.TimeoutException as error:
        raise NotReached(f"{url} has not answered in time") from error
    except httpx2.HTTPError as error:
        raise NotReached(f"{url} cannot be reached: {error}") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise NotReached(f"{url!r} is no URL: {error}") from error


def body_of(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object in an answer. Raises NotReached if that is not what it is."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NotReached(f"{response.url} does not answer like a gateway (status {response.status_code})")
    return found


def _admin_address(config: Path) -> Address:
    loaded = load_config(config, os.environ)
    if isinstance(loaded, list):
        return _address_in_broken(config)
    address = loaded.config.listen.admin
    if address.port:
        return address
    record = read_record(loaded.config.state)
    if record is None:
        raise NotReached(f"no gateway runs on the state directory {loaded.config.state}")
    return Address.parse(record.admin)


def _address_in_broken(config: Path) -> Address:
    """A bad edit changes nothing in the running gateway, so it must not hide it from commands either."""
    try:
        found = _ADMIN_KEY.search(config.read_text(errors="replace"))
    except OSError as error:
        raise NotReached(f"{config}: cannot be read: {error.strerror or error}") from error
    try:
        return Address.parse(found[1]) if found else DEFAULT_ADMIN
    except ValueError:
        raise NotReached(f"{config} is broken, and names no admin address; use --admin URL") from None


def _dialled(address: Address) -> Address:
    """Where a listener on every address of the machine is reached."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return Address(everywhere.get(address.host, address.host), address.port)
