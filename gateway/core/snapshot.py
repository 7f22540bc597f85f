"""A configuration compiled once and never changed: what every request runs on from its first byte to its log line.

`compile_snapshot` is pure; each process compiles the same document, so all of them mean the same thing by one
snapshot id. Live things (pools, queues, breakers) are not here: their owners keep them by the keys given here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from gateway.core import config as written

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SliceSource = Literal["tenant", "version", "input", "header"]


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to trust a backend reached by https."""

    ca: str | None
    verify: bool
    server_name: str

    def context(self) -> ssl.SSLContext:
        """A client context; made once per pool because it reads the trust store from disk."""
        context = ssl.create_default_context(cafile=self.ca)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        return context


@dataclass(frozen=True, slots=True)
class Target:
    """One replica: a TCP address or a Unix socket, the Host to name, and the path before ours."""

    host: str
    port: int
    unix_path: str | None
    tls: TlsSettings | None
    authority: bytes
    base_path: bytes

    def __str__(self) -> str:
        return f"unix:{self.unix_path}" if self.unix_path else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ModelServer:
    """One built-in ONNX server process: what it loads and where it listens."""

    key: str
    model: str
    version: str
    path: Path
    threads: int
    batch_max: int
    batch_wait_s: float
    socket_path: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model and where it answers."""

    model: str
    name: str
    targets: tuple[Target, ...]
    timeout_s: float
    connections: int
    server: ModelServer | None


@dataclass(frozen=True, slots=True)
class Challenger:
    """One dark-launched version. `share` is the sampling probability, 0 to 1."""

    version: Version
    share: float
    settings: written.Challenger


@dataclass(frozen=True, slots=True)
class Slice:
    """One dimension that pairs are told apart by."""

    name: str
    source: SliceSource
    argument: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model: who answers, who is dark-launched behind it, how answers are compared and kept."""

    name: str
    protocol: Literal["open-inference", "json"]
    versions: Mapping[str, Version]
    champion: Version
    challengers: tuple[Challenger, ...]
    compare: written.Compare
    slices: tuple[Slice, ...]
    payload: Literal["body", "digest", "none"]
    body_cap_bytes: int
    timeout_s: float
    """From a request's first byte to its answer's last; a version's own `timeout_s` is for the backend alone."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole configuration, compiled."""

    id: str
    config: written.Gateway
    models: Mapping[str, Model]
    servers: Mapping[str, ModelServer]
    trusted_proxies: tuple[Network, ...]


def compile_snapshot(config: written.Gateway, runtime_directory: Path) -> Snapshot:
    """Compile a validated configuration; `runtime_directory` is where model servers' sockets are."""
    models = {name: _model(name, model, config, runtime_directory) for name, model in config.models.items()}
    servers = {
        version.server.key: version.server
        for model in models.values()
        for version in model.versions.values()
        if version.server is not None
    }
    return Snapshot(
        id=written.config_id(config),
        config=config,
        models=MappingProxyType(models),
        servers=MappingProxyType(servers),
        trusted_proxies=tuple(ipaddress.ip_network(cidr, strict=False) for cidr in config.trusted_proxies),
    )


def _model(name: str, model: written.Model, config: written.Gateway, runtime_directory: Path) -> Model:
    versions = {
        version_name: _version(name, version_name, version, model, runtime_directory)
        for version_name, version in model.versions.items()
    }
    sizes = model.guards.sizes if model.guards and model.guards.sizes else config.guards.sizes
    payload = model.pairs.payload if model.pairs else config.pairs.payload
    return Model(
        name=name,
        protocol=model.protocol,
        versions=MappingProxyType(versions),
        champion=versions[model.champion],
        challengers=tuple(
            Challenger(versions[challenger], settings.percent / 100, settings)
            for challenger, settings in model.challengers.items()
        ),
        compare=model.compare,
        slices=tuple(_slice(slice_name, text) for slice_name, text in model.slices.items()),
        payload=payload,
        body_cap_bytes=sizes.body if sizes.mode == "enforce" else 2**63,
        timeout_s=model.timeout,
    )


def _version(
    model_name: str, name: str, version: written.Version, model: written.Model, runtime_directory: Path
) -> Version:
    server = None
    if version.onnx is not None:
        server = _model_server(model_name, name, version, runtime_directory)
        targets: tuple[Target, ...] = (Target("", 0, server.socket_path, None, b"localhost", b""),)
    else:
        targets = tuple(_target(str(url), version.tls) for url in version.urls)
    return Version(
        model=model_name,
        name=name,
        targets=targets,
        timeout_s=version.timeout if version.timeout is not None else model.timeout,
        connections=version.connections,
        server=server,
    )


def _model_server(model_name: str, name: str, version: written.Version, runtime_directory: Path) -> ModelServer:
    settings = (model_name, name, version.onnx, version.digest, version.threads, version.batch)
    key = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    assert version.onnx is not None
    return ModelServer(
        key=key,
        model=model_name,
        version=name,
        path=version.onnx,
        threads=version.threads,
        batch_max=version.batch.max,
        batch_wait_s=version.batch.wait,
        socket_path=str(runtime_directory / f"model-{key}.sock"),
    )


def _target(url: str, tls: written.Tls | None) -> Target:
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    settings = None
    if secure:
        ca = str(tls.ca) if tls and tls.ca else None
        settings = TlsSettings(ca, tls.verify if tls else True, (tls and tls.server_name) or host)
    return Target(
        host=host,
        port=parts.port or (443 if secure else 80),
        unix_path=None,
        tls=settings,
        authority=parts.netloc.encode(),
        base_path=parts.path.rstrip("/").encode(),
    )


def _slice(name: str, text: str) -> Slice:
    source, _, argument = text.partition(":")
    match source:
        case "tenant" | "version" | "input" | "header":
            return Slice(name, source, argument)
        case _:
            raise ValueError(f"{text!r} is no source of a slice")
