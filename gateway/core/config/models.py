"""What operators write about a model: versions, champion, challengers, comparison.

Rules over several keys stand here too, so that no invalid model can exist however it was made.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.json_schema import SkipJsonSchema

from gateway.core.config.addresses import Url
from gateway.core.config.guards import ModelGuards
from gateway.core.config.names import (
    ExistingFile,
    IgnorePath,
    SliceName,
    SliceSource,
    VersionName,
    VersionReference,
    file_context,
)
from gateway.core.config.section import Problem, Section, not_yet, refuse_all
from gateway.core.config.values import Duration, Size, Wait, named, refuse

Payload = Literal["body", "digest", "none"]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Tolerated = Annotated[float, Field(ge=0, allow_inf_nan=False)]
VERSIONS_LISTED = 15
_NO_GEO = not_yet("geo[.:]", "slice by tenant, version, input:NAME or header:NAME")


def _one_champion(value: object) -> object:
    if isinstance(value, list | tuple | dict):
        raise refuse("a model has one champion: name one version")
    return value


class Tls(Section):
    """How an `https` backend proves who it is."""

    ca: ExistingFile | None = Field(None, description="PEM file of the authorities to trust instead of the system's.")
    verify: bool = Field(True, description="Whether the backend's certificate and its name are checked at all.")
    server_name: str | None = Field(
        None,
        min_length=1,
        max_length=253,
        description="Name to ask for and to check, where it is not the host of the URL.",
    )


class Batch(Section):
    """How the built-in model server joins requests that wait at the same time into one run."""

    max: int = Field(16, ge=1, le=4096, description="Most requests in one run; 1 turns it off.")
    wait: Wait = Field(
        0.0,
        description="How long a run waits for more requests; `0s` joins only what waits already.",
    )


class Version(Section):
    """One version of a model: a file for the built-in server (`onnx`) or HTTP backends (`urls`)."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["onnx"]}, {"required": ["urls"]}]})

    found: ClassVar[frozenset[str]] = frozenset({"digest"})

    onnx: ExistingFile | None = Field(None, description="ONNX file that the built-in model server answers from.")
    urls: tuple[Url, ...] = Field(
        (),
        description=(
            "Base URLs of the HTTP backends that answer; several are replicas of one another. "
            "The path of a URL goes before the path of the request."
        ),
    )
    timeout: Duration | None = Field(
        None, description="How long an answer may take in all; without it, the model's `timeout`."
    )
    connections: int = Field(1024, ge=1, le=65536, description="Most connections to one replica at a time.")
    tls: Tls | None = Field(None, description="How `https` backends prove who they are.")
    threads: int = Field(1, ge=1, le=256, description="Threads one run of the model may use; for `onnx` only.")
    batch: Batch = Field(Batch(), description="Joining of requests that wait together; for `onnx` only.")
    digest: SkipJsonSchema[str | None] = Field(
        None, description="SHA-256 of the ONNX file; found by the gateway, never written."
    )

    @model_validator(mode="after")
    def _one_kind_of_backend(self, info: ValidationInfo) -> Self:
        context = file_context(info)
        problems: list[Problem] = []
        if self.onnx is None and not self.urls:
            problems.append(((), "a version needs `onnx: FILE` or `urls: [URL]`"))
        if self.onnx is not None and self.urls:
            problems.append((("urls",), "a version has `onnx` or `urls`, not both"))
        if self.tls and not any(url.startswith("https:") for url in self.urls):
            problems.append((("tls",), "`tls` is only for versions with an https URL"))
        if self.urls and self.threads != 1:
            problems.append((("threads",), "`threads` is only for versions with `onnx`"))
        if self.urls and self.batch != Batch():
            problems.append((("batch",), "`batch` is only for versions with `onnx`"))
        if context and "digest" in self.model_fields_set:
            problems.append((("digest",), "unknown key 'digest'"))
        refuse_all(problems)
        if context is None or self.onnx is None:
            return self
        return self.model_copy(update={"digest": context.digest(self.onnx)})


class Breaker(Section):
    """When a challenger that fails is left alone for a while."""

    failures: int = Field(5, ge=1, le=10**6, description="Failures in a row after which it is left alone.")
    open: Duration = Field(5.0, description="How long it is left alone before one more try.")


class Challenger(Section):
    """A version that gets a copy of the live traffic and whose answers no client ever sees."""

    percent: Percent = Field(100.0, description="Share of the requests that are copied to it.")
    timeout: Duration = Field(2.0, description="How long its answer may take in all.")
    concurrency: int = Field(16, ge=1, le=65536, description="Most requests it is answering at a time.")
    queue_items: int = Field(
        500,
        ge=0,
        le=10**6,
        description="Most requests that wait for it; with 0, what it cannot take at once is skipped (`concurrency`).",
    )
    queue_bytes: Size = Field(32 * 2**20, description="Most bytes that wait for it.")
    answer: Size = Field(2**20, description="Largest answer read from it; a larger one counts as an error.")
    breaker: Breaker = Field(Breaker(), description="When it is left alone for a while.")


class Tolerance(Section):
    """How far two numbers may be apart and still agree: the larger of the two bounds counts."""

    absolute: Tolerated = Field(0.0, description="Bound on the difference itself.")
    relative: Tolerated = Field(0.0, description="Bound as a share of the larger of the two numbers' magnitudes.")


class Compare(Section):
    """When the answers of champion and challenger agree."""

    output: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Output (or top-level key of a JSON answer) that `label` and `number` compare.",
    )
    kind: Literal["label", "number", "json"] = Field(
        "json",
        description=(
            "`label`: the values are equal; `number`: they are within `tolerance`; "
            "`json`: the whole answers are equal, their numbers within `tolerance`."
        ),
    )
    tolerance: Tolerance = Field(Tolerance(), description="How far numbers may be apart.")
    ignore: tuple[IgnorePath, ...] = Field(
        (), description="Paths of the answer left out, such as `$.id` or `$.outputs[*].name`."
    )
    order: Literal["strict", "any"] = Field("strict", description="Whether the order of a list's items matters.")

    @model_validator(mode="after")
    def _output_is_named(self) -> Self:
        if self.kind != "json" and self.output is None:
            message = f"`kind: {self.kind}` needs `output`, the name of what is compared"
            refuse_all([(("kind",), message)])
        return self


class ModelPairs(Section):
    """What of this model's pairs is kept."""

    payload: Payload = Field(
        description="What is kept of a request and its answers, in place of the gateway's `pairs`."
    )


class Model(Section):
    """One model: the champion answers, challengers answer in the dark."""

    later: ClassVar[frozenset[str]] = frozenset({"canary"})

    owner: str | None = Field(None, min_length=1, max_length=256, description="Who is asked about this model.")
    protocol: Annotated[Literal["open-inference", "json"], not_yet("openai$", "use open-inference or json")] = Field(
        "open-inference",
        description=(
            "What clients and backends speak: the Open Inference Protocol under `/v2/models/`, "
            "or any JSON over HTTP under `/models/`."
        ),
    )
    versions: dict[VersionName, Version] = Field(min_length=1, description="The versions of the model, by name.")
    champion: Annotated[VersionReference, BeforeValidator(_one_champion)] = Field(
        description="The version whose answers clients get."
    )
    challengers: dict[VersionName, Challenger] = Field(
        default_factory=dict, description="The versions that are dark-launched, by name."
    )
    compare: Compare = Field(Compare(), description="When two answers agree.")
    slices: dict[SliceName, Annotated[SliceSource, _NO_GEO]] = Field(
        default_factory=dict,
        description=(
            "What reports are broken down by: a name, and where its value comes from "
            "(`tenant`, `version`, `input:NAME`, `header:NAME`)."
        ),
    )
    timeout: Duration = Field(15.0, description="How long an answer of the champion may take in all.")
    pairs: ModelPairs | None = Field(None, description="What of this model's pairs is kept.")
    guards: ModelGuards | None = Field(None, description="Guards of this model's own.")

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        problems = name_problems(self.versions, self.champion, self.challengers)
        if self.protocol == "json":
            problems += [
                (("versions", name, "onnx"), "the built-in model server speaks open-inference, not json")
                for name, version in self.versions.items()
                if version.onnx is not None
            ]
        refuse_all(problems)
        return self


def name_problems(versions: Collection[str], champion: str | None, challengers: Collection[str]) -> list[Problem]:
    """What is wrong with the names a model gives its champion and its challengers."""
    problems: list[Problem] = []
    known = ", ".join(named(name) for name in islice(versions, VERSIONS_LISTED)) or "none"
    if champion is not None and champion not in versions:
        problems.append((("champion",), f"no version '{named(champion)}'; there are: {known}"))
    for name in challengers:
        place = ("challengers", name)
        if name not in versions:
            problems.append((place, f"no version '{named(name)}'; there are: {known}"))
        elif name == champion:
            problems.append((place, f"version '{named(name)}' is the champion already"))
    return problems
