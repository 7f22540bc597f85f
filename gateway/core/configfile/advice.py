"""What is allowed and yet probably not meant: warnings about a configuration that is valid."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.config import Gateway, Model, Version
from gateway.core.config.section import Problem


def advice(config: Gateway) -> Iterator[Problem]:
    """Each doubtful key with what will come of it."""
    if config.tenant_header and not config.trusted_proxies:
        yield ("tenant_header",), "never believed, because `trusted_proxies` is empty"
    for name, model in config.models.items():
        for place, message in _about_model(model):
            yield ("models", name, *place), message


def _about_model(model: Model) -> Iterator[Problem]:
    for name, version in model.versions.items():
        yield from _about_version(name, version)
    for name, challenger in model.challengers.items():
        if challenger.percent == 0:
            yield ("challengers", name, "percent"), "at 0 percent it is never called"
    if model.compare.kind == "json" and model.compare.output is not None:
        yield ("compare", "output"), "not used: `kind: json` compares the whole answer"


def _about_version(name: str, version: Version) -> Iterator[Problem]:
    if version.tls and not version.tls.verify:
        place = ("versions", name, "tls", "verify")
        yield place, "any server that answers there is believed to be the backend"
    if len(set(version.urls)) < len(version.urls):
        yield ("versions", name, "urls"), "the same URL twice is one replica with twice the share"
