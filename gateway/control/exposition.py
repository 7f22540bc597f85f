"""What `/metrics` shows: every process's counters summed, and what the kernel says of each
process.

Counters of processes that are gone still count; gauges are shown of living processes only, since
what a former one held is not held now. Blocking and, with thousands of models, slow: called in a
thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import gateway
from gateway.control.status import GatewayStatus, ProcessStatus
from gateway.core.counters import Family, Kind, read
from gateway.core.metrics import FAMILIES

Labels = tuple[str, ...]
Fields = Mapping[str, int]

SUM_FIELD: Final = "sum_us"
COUNTER_SUFFIX: Final = "_total"
"""The format's own rule: what has not this ending is shown as a gauge, however it is kept."""

PROCESS_UP = Family(
    "tiltyard_process_up",
    "1 if the process serves, 0 if it is being started or is down.",
    ("process",),
    "",
    ("value",),
    Kind.GAUGE,
)
PROCESS_MEMORY = Family(
    "tiltyard_process_resident_memory_bytes",
    "Memory that the process holds, without what is swapped out.",
    ("process",),
    "",
    ("value",),
    Kind.GAUGE,
)
PROCESS_CPU = Family(
    "tiltyard_process_cpu_seconds_total",
    "CPU time the process has used since it was started.",
    ("process",),
    "",
    ("count",),
)
PROCESS_FILES = Family(
    "tiltyard_process_open_files",
    "File descriptors that the process has open, sockets included.",
    ("process",),
    "",
    ("value",),
    Kind.GAUGE,
)
BUILD = Family(
    "tiltyard_build_info",
    "Always 1; the labels say which version runs and which configuration is in force.",
    ("version", "config_id"),
    "",
    ("value",),
    Kind.GAUGE,
)
OBSERVED_FAMILIES: Final = (PROCESS_UP, PROCESS_MEMORY, PROCESS_CPU, PROCESS_FILES, BUILD)
"""Metrics that are looked up rather than counted. docs/metrics.md is written from these too."""


def render(counters: Path, status: GatewayStatus, accept: str) -> tuple[bytes, str]:
    """The metrics in the text format that the reader accepts, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(counters, status))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


class _Collected(Collector):
    def __init__(self, counters: Path, status: GatewayStatus):
        self._counters = counters
        self._status = status

    def collect(self) -> Iterator[Metric]:
        sums = summed(self._counters, {process.name for process in self._status.processes})
        for family in FAMILIES:
            yield _metric(family, sums.get(family.name, {}))
        observed = _observed(self._status)
        for family in OBSERVED_FAMILIES:
            yield _plain(family, observed.get(family.name, {}))


def summed(counters: Path, alive: set[str]) -> dict[str, dict[Labels, dict[str, int]]]:
    """Every counted family over all processes, its gauges over those that are `alive`."""
    gauges = {family.name for family in FAMILIES if family.kind is Kind.GAUGE}
    sums: dict[str, dict[Labels, dict[str, int]]] = {}
    for reading in read(counters):
        if reading.family in gauges and reading.process not in alive:
            continue
        group = sums.setdefault(reading.family, {}).setdefault(reading.labels, {})
        group[reading.field] = group.get(reading.field, 0) + reading.value
    return sums


def _metric(family: Family, groups: Mapping[Labels, Fields]) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        return _histogram(family, groups)
    values: dict[Labels, float] = {}
    for labels, fields in groups.items():
        for field, value in fields.items():
            values[(*labels, field) if family.field_label else labels] = value
    return _plain(family, values)


def _plain(family: Family, values: Mapping[Labels, float]) -> Metric:
    names = (*family.labels, family.field_label) if family.field_label else family.labels
    kind = CounterMetricFamily if family.name.endswith(COUNTER_SUFFIX) else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=names)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, groups: Mapping[Labels, Fields]) -> Metric:
    """Cells count each bucket for itself; the format wants all that is at most its bound."""
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, fields in groups.items():
        total = 0
        buckets = []
        for bound in family.fields:
            if bound != SUM_FIELD:
                total += fields.get(bound, 0)
                buckets.append((bound, total))
        metric.add_metric(labels, buckets, fields.get(SUM_FIELD, 0) / 1e6)
    return metric


def _observed(status: GatewayStatus) -> dict[str, dict[Labels, float]]:
    values: dict[str, dict[Labels, float]] = {BUILD.name: {(gateway.__version__, status.config_id): 1.0}}
    for process in status.processes:
        for family, value in _process(process):
            values.setdefault(family.name, {})[process.name,] = value
    return values


def _process(process: ProcessStatus) -> Iterator[tuple[Family, float]]:
    yield PROCESS_UP, float(process.state == "ready")
    if process.pid is None:
        return
    # The process may end while it is looked at, and not every system has /proc.
    with suppress(OSError, ValueError, IndexError):
        where = Path("/proc", str(process.pid))
        pages = int((where / "statm").read_text().split()[1])
        # The second field is the name in brackets, which may hold spaces; the rest counts from 3.
        times = (where / "stat").read_text().rpartition(")")[2].split()
        yield PROCESS_MEMORY, float(pages * os.sysconf("SC_PAGE_SIZE"))
        yield PROCESS_CPU, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        yield PROCESS_FILES, float(len(os.listdir(where / "fd")))
