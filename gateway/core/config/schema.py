"""The configuration file as a whole: what operators write, strictly validated, frozen once made.

Every key has its description here: the JSON Schema and docs/configuration.md are made from them.
Keys of later versions are not here; they come with what they do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from gateway.core.config.addresses import Address, Network
from gateway.core.config.guards import Guards
from gateway.core.config.models import Model, Payload
from gateway.core.config.names import FieldName, FilePath, ModelName, absolute
from gateway.core.config.section import Section, not_yet, refuse_all
from gateway.core.config.values import Duration, Size

EVERY_ADDRESS = {"0.0.0.0", "::"}
_STATE = not_yet("[a-z]+://", "name a directory")
_LIMIT_STORE = not_yet("rediss?://", "only `local` is")


def _log_target(value: str, info: ValidationInfo) -> str:
    return value if value in ("stdout", "off") else str(absolute(value, info))


class Listen(Section):
    """Where the gateway listens."""

    inference: Address = Field(Address("127.0.0.1", 8080), description="Where clients call models: `host:port`.")
    admin: Address = Field(
        Address("127.0.0.1", 8081),
        description="Where operators look: health, metrics, reports. Loopback unless you mean it.",
    )

    @model_validator(mode="after")
    def _two_addresses(self) -> Self:
        # A listener on every address of the machine takes the port of the other's address too.
        hosts = {self.inference.host, self.admin.host}
        port = self.admin.port
        if port and port == self.inference.port and (len(hosts) == 1 or hosts & EVERY_ADDRESS):
            refuse_all([(("admin",), f"both listeners are on port {port}; give each its own")])
        return self


class Http(Section):
    """Bounds and deadlines of the inference listener's connections."""

    request_line: Size = Field(8 * 2**10, description="Longest request line.")
    field: Size = Field(8 * 2**10, description="Longest header field, name and value.")
    section: Size = Field(32 * 2**10, description="Largest header section.")
    fields: int = Field(100, ge=1, le=10000, description="Most header fields.")
    header: Duration = Field(10.0, description="How long a request's head may take to arrive.")
    body_idle: Duration = Field(10.0, description="How long a request's body may pause.")
    body_rate: int = Field(500, ge=0, le=10**9, description="Least bytes per second of a request's body; 0 for none.")
    write_stall: Duration = Field(30.0, description="How long a client may take nothing of its answer.")
    keep_alive: Duration = Field(75.0, description="How long a connection may be idle.")
    drain: Duration = Field(30.0, description="How long requests in flight may take to end when the gateway stops.")
    buffer: Size = Field(
        256 * 2**10,
        description="Bodies up to this size are gathered before they are forwarded.",
    )


class Shadow(Section):
    """Bounds of what waits to be mirrored; what does not fit is dropped and counted."""

    queue_items: int = Field(
        1000,
        ge=1,
        le=10**6,
        description="Most requests that wait, in each worker and in the shadow process.",
    )
    queue_bytes: Size = Field(64 * 2**20, description="Most bytes that wait, in each worker and in the shadow process.")
    body: Size = Field(2**20, description="Requests and answers larger than this are served but not mirrored.")
    max_age: Duration = Field(10.0, description="What has waited longer than this is dropped as `expired`.")


class Pairs(Section):
    """What is kept of each pair of answers, and for how long."""

    payload: Payload = Field(
        "digest",
        description="What is kept of a request and its answers: `body`, `digest` or `none`.",
    )
    segment: Size = Field(16 * 2**20, description="Size at which the journal is rolled to a Parquet file.")
    roll: Duration = Field(60.0, description="Age at which the journal is rolled to Parquet.")
    keep_age: Duration = Field(30 * 86400.0, description="Files older than this are deleted.")
    keep_bytes: Size = Field(10 * 2**30, description="The oldest files beyond this total are deleted.")


class Gateway(Section):
    """The whole configuration file."""

    listen: Listen = Field(Listen(), description="Where clients and operators connect.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes that share the inference listener.")
    state: Annotated[FilePath, _STATE] = Field(
        Path("state"), validate_default=True, description="Directory of everything that is kept."
    )
    limit_store: Annotated[Literal["local"], _LIMIT_STORE] = Field(
        "local", description="Where the counts of limits are kept; only `local` for now."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Networks of the proxies whose `X-Forwarded-For` or `Forwarded` is believed.",
    )
    tenant_header: FieldName | None = Field(
        None,
        description="Header field that names the tenant; believed of `trusted_proxies` only.",
    )
    access_log: Annotated[str, AfterValidator(_log_target)] = Field(
        "stdout",
        min_length=1,
        description="Where one line per request goes: `stdout`, `off`, or a file.",
    )
    http: Http = Field(Http(), description="Bounds and deadlines of clients' connections.")
    shadow: Shadow = Field(Shadow(), description="Bounds of what waits to be mirrored.")
    pairs: Pairs = Field(Pairs(), description="What is kept of each pair of answers.")
    guards: Guards = Field(Guards(), description="What every request must pass.")
    models: dict[ModelName, Model] = Field(min_length=1, description="The models, by name.")

    @model_validator(mode="after")
    def _models_inherit_guards(self) -> Self:
        # Key by key: `sizes: {body: 1MiB}` of a model keeps the gateway's `mode`. What was made
        # explicit once stays so, which is why a configuration read again is the same.
        for name, model in self.models.items():
            if model.guards is None or model.guards.sizes is None:
                continue
            own = model.guards.sizes
            left = type(own).model_fields.keys() - own.model_fields_set
            inherited = {key: getattr(self.guards.sizes, key) for key in left}
            if any(getattr(own, key) != value for key, value in inherited.items()):
                sizes = own.model_copy(update=inherited)
                guards = model.guards.model_copy(update={"sizes": sizes})
                self.models[name] = model.model_copy(update={"guards": guards})
        return self
