"""Names and paths: what may name a model, a version, a slice, a header field, a place in an answer.

Relative paths are relative to the configuration file. Whether a path leads to a file is asked of
`FileContext`, which the loader gives to validation; nothing here reads one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from gateway.core.config.values import refuse, shown

MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
VERSION_NAME_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"
FIELD_NAME_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"
IGNORE_PATTERN = r"""^\$(\.(\*|[^.\[\]'"\s]+)|\[([0-9]+|\*|'([^'\\]|\\.)*')\])*$"""
SLICE_PATTERN = r"^(tenant|version|input:.{1,128}|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128})$"


@dataclass(frozen=True, slots=True)
class FileContext:
    """Where a configuration file stands, for the validation of what is written in it.

    `digest` answers the SHA-256 of a file's content in hex, or raises OSError. Validation without
    this context (of a configuration loaded before, or made in Python) takes paths as they are.
    """

    base: Path
    digest: Callable[[Path], str]


def file_context(info: ValidationInfo) -> FileContext | None:
    """The context, where a file is being validated."""
    return info.context if isinstance(info.context, FileContext) else None


def absolute(text: str | Path, info: ValidationInfo) -> Path:
    """The path as an absolute one, seen from the configuration file."""
    if "\0" in str(text) or not str(text).strip():
        raise refuse(f"expected a path, got {shown(str(text))}")
    context = file_context(info)
    return Path(os.path.abspath(context.base / text)) if context else Path(text)


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path):
        raise refuse(f"expected a path, got {shown(value)}")
    return absolute(value, info)


def _exists(path: Path, info: ValidationInfo) -> Path:
    context = file_context(info)
    if context is None:
        return path
    try:
        context.digest(path)
    except FileNotFoundError:
        raise refuse(f"no such file: {_in_words(path)}") from None
    except OSError as error:
        raise refuse(f"cannot read {_in_words(path)}: {error.strerror or error}") from None
    return path


def _in_words(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else shown(text)


def _matching(pattern: str, expected: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise refuse(f"expected {expected}, got {shown(value)}")
        return value

    return AfterValidator(check)


def _reference(value: object) -> object:
    # `champion: 1` names the version whose key is written `1:`, and keys are text.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


FilePath = Annotated[
    Path,
    PlainValidator(_path),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
ExistingFile = Annotated[FilePath, AfterValidator(_exists)]
ModelName = Annotated[
    str,
    _matching(MODEL_NAME_PATTERN, "a model name (letters, digits, '.', '_', '-'; at most 128)"),
    _text(MODEL_NAME_PATTERN),
]
VersionName = Annotated[
    str,
    _matching(VERSION_NAME_PATTERN, "a version name (letters, digits, '.', '_', '-'; at most 64)"),
    _text(VERSION_NAME_PATTERN),
]
VersionReference = Annotated[
    VersionName,
    BeforeValidator(_reference),
    WithJsonSchema({"type": ["string", "integer"], "pattern": VERSION_NAME_PATTERN}),
]
SliceName = Annotated[
    str,
    _matching(VERSION_NAME_PATTERN, "a slice name (letters, digits, '.', '_', '-'; at most 64)"),
    _text(VERSION_NAME_PATTERN),
]
FieldName = Annotated[
    str,
    _matching(FIELD_NAME_PATTERN, "the name of a header field"),
    AfterValidator(str.lower),
    _text(FIELD_NAME_PATTERN),
]
IgnorePath = Annotated[
    str,
    _matching(IGNORE_PATTERN, "a path such as $.id or $.outputs[*].name"),
    _text(IGNORE_PATTERN),
]
SliceSource = Annotated[
    str,
    _matching(SLICE_PATTERN, "tenant, version, input:NAME or header:NAME"),
    _text(SLICE_PATTERN),
]
