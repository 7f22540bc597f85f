"""Where things are: the addresses of listeners, the URLs of backends, trusted networks.

A text is checked as far as it can be without a network: nothing here resolves a name or connects.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from gateway.core.config.values import refuse, shown

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST_PATTERN = rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?"
ADDRESS_PATTERN = r"^(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):[0-9]{1,5}$"
URL_PATTERN = r"^https?://[^?#@]+$"
LONGEST_URL = 2048


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds. `host` is bare; the text has brackets where IPv6 needs them."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address of `host:port` or `[ipv6]:port`; ValueError if it is none."""
        bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:([0-9]{1,5})", text)
        plain = re.fullmatch(r"([^\[\]:]+):([0-9]{1,5})", text)
        if bracketed:
            host, port = str(ipaddress.IPv6Address(bracketed[1])), int(bracketed[2])
        elif plain and _is_host(plain[1]):
            host, port = plain[1].lower(), int(plain[2])
        else:
            raise ValueError(f"no address: {shown(text)}")
        if port > 65535:
            raise ValueError(f"no address: {shown(text)}")
        return cls(host, port)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": ADDRESS_PATTERN}

    @classmethod
    def _validate(cls, value: object) -> Address:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            try:
                return cls.parse(value)
            except ValueError:
                pass
        example = "127.0.0.1:8080 or [::1]:8080"
        raise refuse(f"expected an address such as {example}, got {shown(value)}")


def _is_host(text: str) -> bool:
    # What looks like an IPv4 address must be one: 127.0.0.256 would otherwise pass as a name.
    if re.fullmatch(r"[0-9.]+", text):
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            return False
        return True
    return re.fullmatch(HOST_PATTERN, text) is not None


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(value, strict=False)
    except ValueError:
        example = "10.0.0.0/8 or 192.0.2.7"
        raise refuse(f"expected a network such as {example}, got {shown(value)}") from None
    raise refuse(f"{shown(value)} is an address inside the network {meant}; write {meant}")


def _url(value: str) -> str:
    problem = _url_problem(value)
    if problem:
        raise refuse(f"expected a URL such as http://127.0.0.1:9000, got {shown(value)}: {problem}")
    return value


def _url_problem(value: str) -> str | None:
    if len(value) > LONGEST_URL or not re.fullmatch(r"[!-~]+", value):
        return f"it must be ASCII without spaces, at most {LONGEST_URL} characters"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "its host or its port is malformed"
    if parts.scheme not in ("http", "https"):
        return "the scheme must be http or https"
    if "?" in value or "#" in value:
        return "a query or a fragment has no place in it"
    if "@" in parts.netloc:
        return "a user name or a password has no place in it"
    if not (":" in host or _is_host(host)):
        return "the host is missing or is no host name"
    if port == 0 or parts.netloc.endswith(":"):
        return "the port must be from 1 to 65535"
    return None


Network = Annotated[str, AfterValidator(_network)]
Url = Annotated[str, AfterValidator(_url), WithJsonSchema({"type": "string", "pattern": URL_PATTERN})]
