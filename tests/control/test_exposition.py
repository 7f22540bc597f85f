"""What `/metrics` shows of the counters of several processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.control.exposition import OBSERVED_FAMILIES, render
from gateway.control.status import GatewayStatus, ProcessState, ProcessStatus
from gateway.core.counters import Counters, Kind
from gateway.core.metrics import CONNECTIONS, DURATION, FAMILIES, REQUESTS, RESTARTS


def process(name: str, pid: int | None, state: ProcessState = "ready") -> ProcessStatus:
    return ProcessStatus(name, name, "worker", state, pid, restarts=0, silent_s=0.0, facts={})


def status(*processes: ProcessStatus) -> GatewayStatus:
    return GatewayStatus("cafe", "127.0.0.1:1", "127.0.0.1:2", draining=False, processes=processes)


@contextmanager
def counting(directory: Path, name: str) -> Iterator[Counters]:
    counters = Counters(directory, name, capacity=1000)
    yield counters
    counters.close()


def samples(directory: Path, now: GatewayStatus) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and its label values, in the order of the labels' names."""
    content, _ = render(directory, now, "")
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def test_counters_are_summed_over_processes_dead_and_alive(tmp_path: Path) -> None:
    for name in ("worker-0", "worker-1"):
        with counting(tmp_path, name) as counters:
            at = counters.group(REQUESTS, ("m", "1"))
            counters.cells[at + REQUESTS.at("2xx")] += 3
            counters.cells[at + REQUESTS.at("5xx")] += 1

    found = samples(tmp_path, status(process("worker-0", None)))

    # Labels in the order of their names: model, outcome, version.
    assert found["tiltyard_requests_total", ("m", "2xx", "1")] == 6
    assert found["tiltyard_requests_total", ("m", "5xx", "1")] == 2
    assert found["tiltyard_requests_total", ("m", "4xx", "1")] == 0


def test_gauges_are_summed_over_living_processes_alone(tmp_path: Path) -> None:
    for name in ("worker-0", "worker-1", "worker-2"):
        with counting(tmp_path, name) as counters:
            counters.cells[counters.gauge(CONNECTIONS, ()) + CONNECTIONS.at("client")] = 5

    found = samples(tmp_path, status(process("worker-0", None), process("worker-2", None)))

    assert found["tiltyard_connections", ("client",)] == 10


def test_a_family_of_one_number_has_no_label_for_it(tmp_path: Path) -> None:
    with counting(tmp_path, "supervisor") as counters:
        counters.cells[counters.group(RESTARTS, ("worker",))] += 2

    assert samples(tmp_path, status())["tiltyard_process_restarts_total", ("worker",)] == 2


def test_histograms_are_cumulative_and_in_seconds(tmp_path: Path) -> None:
    with counting(tmp_path, "worker-0") as counters:
        at = counters.group(DURATION, ("m", "1"))
        for bound in ("0.001", "0.001", "0.5", "+Inf"):
            counters.cells[at + DURATION.at(bound)] += 1
        counters.cells[at + DURATION.at("sum_us")] += 12_502_000

    found = samples(tmp_path, status())

    name = "tiltyard_request_duration_seconds"
    assert found[f"{name}_bucket", ("0.0005", "m", "1")] == 0
    assert found[f"{name}_bucket", ("0.001", "m", "1")] == 2
    assert found[f"{name}_bucket", ("0.5", "m", "1")] == 3
    assert found[f"{name}_bucket", ("10", "m", "1")] == 3
    assert found[f"{name}_bucket", ("+Inf", "m", "1")] == 4
    assert found[f"{name}_count", ("m", "1")] == 4
    assert found[f"{name}_sum", ("m", "1")] == pytest.approx(12.502)


def test_the_kernel_is_asked_about_each_process(tmp_path: Path) -> None:
    now = status(process("worker-0", os.getpid()), process("worker-1", None, "down"), process("gone", 2**22 + 1))

    found = samples(tmp_path, now)

    assert found["tiltyard_process_up", ("worker-0",)] == 1
    assert found["tiltyard_process_up", ("worker-1",)] == 0
    assert found["tiltyard_process_resident_memory_bytes", ("worker-0",)] > 1_000_000
    assert found["tiltyard_process_cpu_seconds_total", ("worker-0",)] > 0
    assert found["tiltyard_process_open_files", ("worker-0",)] > 2
    assert ("tiltyard_process_open_files", ("gone",)) not in found


def test_it_says_which_configuration_is_in_force(tmp_path: Path) -> None:
    (labels,) = [labels for name, labels in samples(tmp_path, status()) if name == "tiltyard_build_info"]

    assert labels[0] == "cafe"


def test_every_family_is_shown_with_its_help(tmp_path: Path) -> None:
    content = render(tmp_path, status(), "")[0].decode()

    for family in (*FAMILIES, *OBSERVED_FAMILIES):
        assert f"# HELP {family.name} {family.help}\n" in content
        assert f"# TYPE {family.name} " in content


def test_whatever_is_named_a_total_is_counted() -> None:
    for family in (*FAMILIES, *OBSERVED_FAMILIES):
        if family.name.endswith("_total"):
            assert family.kind is Kind.COUNTER


def test_a_reader_of_openmetrics_gets_it(tmp_path: Path) -> None:
    content, kind = render(tmp_path, status(), "application/openmetrics-text; version=1.0.0")

    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert content.endswith(b"# EOF\n")
