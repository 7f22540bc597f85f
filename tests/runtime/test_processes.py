"""The processes of a gateway: started in order, kept running, stopped in order. Real processes all."""

import json
import os
import signal
import socket
from pathlib import Path

import httpx2
import pytest

from tests.support.fixtures import StartGateway
from tests.support.gateway_process import GatewayProcess, Json, config, one_model
from tests.support.polling import eventually

NOWHERE = "http://127.0.0.1:9"


def title_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def told(gateway: GatewayProcess) -> list[Json]:
    """What the scripted roles were told, in order."""
    return [json.loads(line) for line in (gateway.state / "told.jsonl").read_text().splitlines()]


def order(gateway: GatewayProcess, *wanted: str) -> list[str]:
    """`process what` of the wanted events, in the order they came."""
    return [f"{line['name']} {line['what']}" for line in told(gateway) if line["what"] in wanted]


def test_every_process_says_what_it_is(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE, workers=2))

    pids = gateway.pids()

    assert list(pids) == ["worker 0", "worker 1", "shadow", "control"]
    assert {title: title_of(pid) for title, pid in pids.items()} == {title: f"tiltyard: {title}" for title in pids}
    assert title_of(gateway.pid) == "tiltyard: supervisor"


def test_it_says_where_it_serves(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))

    (serving,) = gateway.events("serving")

    assert serving["inference"] == gateway.inference
    assert serving["admin"] == gateway.admin
    assert serving["pid"] == gateway.pid
    assert serving["processes"] == gateway.pids()


def test_the_number_of_workers_can_be_given_on_the_command_line(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE, workers=1), arguments=["--workers", "3"])

    assert [title for title in gateway.pids() if title.startswith("worker")] == [
        "worker 0",
        "worker 1",
        "worker 2",
    ]


@pytest.mark.parametrize("title", ["worker 0", "shadow", "control"])
def test_a_killed_process_is_started_again_and_counted(start_scripted: StartGateway, title: str) -> None:
    gateway = start_scripted(one_model(NOWHERE))

    former = gateway.kill(title)
    gateway.until_respawned(title, former)

    assert gateway.processes()[title]["restarts"] == 1
    role = title.partition(" ")[0]
    assert gateway.metric("tiltyard_process_restarts_total", role=role) == 1
    (ended,) = gateway.events("process-ended")
    assert (ended["pid"], ended["status"]) == (former, -signal.SIGKILL)


def test_a_request_that_finds_the_worker_dead_is_answered_by_the_next(
    start_scripted: StartGateway,
) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    former = gateway.kill("worker 0")

    answer = gateway.client.get(gateway.inference).json()

    assert answer["pid"] != former
    assert answer["pid"] == gateway.until_respawned("worker 0", former)


def test_a_process_that_dies_again_and_again_is_tried_more_slowly(
    start_scripted: StartGateway,
) -> None:
    gateway = start_scripted(one_model(NOWHERE))

    for _ in range(4):
        gateway.until_respawned("worker 0", gateway.kill("worker 0"))

    assert gateway.processes()["worker 0"]["restarts"] == 4
    assert gateway.get("/readyz").status_code == 200


def test_stopping_drains_workers_before_the_shadow_process(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE, workers=2))

    gateway.send(signal.SIGTERM)

    assert gateway.wait() == 0
    steps = order(gateway, "drain", "drained")
    assert set(steps[:4]) == {f"worker-{index} {what}" for index in (0, 1) for what in ("drain", "drained")}
    assert steps[4:] == ["shadow drain", "shadow drained"]
    assert not (gateway.state / "gateway.json").exists()


def test_ctrl_c_in_a_terminal_stops_it_in_the_same_order(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))

    os.killpg(gateway.pid, signal.SIGINT)

    assert gateway.wait() == 0
    assert order(gateway, "drained") == ["worker-0 drained", "shadow drained"]


def test_children_leave_signals_to_the_supervisor(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    pids = gateway.pids()

    for pid in pids.values():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)

    assert gateway.get("/readyz").status_code == 200
    assert gateway.pids() == pids


def test_while_it_stops_it_is_not_ready(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE, http={"drain": "1s"}), environment={"TEST_WORKER": "hang-in-drain"})

    gateway.send(signal.SIGTERM)

    def stopping() -> bool:
        answer = gateway.get("/readyz")
        return answer.status_code == 503 and answer.json()["status"] == "stopping"

    eventually(stopping, "/readyz says that it stops")
    assert gateway.get("/livez").status_code == 200


def test_a_worker_that_does_not_end_is_killed_when_its_time_is_over(
    start_scripted: StartGateway,
) -> None:
    gateway = start_scripted(one_model(NOWHERE, http={"drain": "100ms"}), environment={"TEST_WORKER": "hang-in-drain"})
    pids = gateway.pids()

    gateway.send(signal.SIGTERM)

    assert gateway.wait() == 0
    (killed,) = gateway.events("process-killed")
    assert killed["pid"] == pids["worker 0"]
    assert not any(map(is_alive, pids.values()))
    assert order(gateway, "drained") == ["shadow drained"]


def test_a_second_signal_does_not_wait(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE), environment={"TEST_WORKER": "hang-in-drain"})
    pids = gateway.pids()

    gateway.send(signal.SIGINT)
    eventually(lambda: "worker-0 drain" in order(gateway, "drain"), "the worker drains")
    gateway.send(signal.SIGINT)

    assert gateway.wait() == 1
    assert not any(map(is_alive, pids.values()))


def test_a_killed_supervisor_takes_its_children_along(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    pids = gateway.pids()
    runtime_directory = json.loads((gateway.state / "gateway.json").read_text())["runtime_directory"]

    gateway.process.kill()
    gateway.wait()

    eventually(lambda: not any(map(is_alive, pids.values())), "the children end")
    assert set(order(gateway, "drained")) == {"worker-0 drained", "shadow drained"}
    # The next one on the same state cleans up after it.
    after = GatewayProcess(gateway.directory, gateway.settings, gateway.command)
    with after:
        assert not Path(runtime_directory).exists()
        assert after.get("/readyz").status_code == 200


def test_counts_go_on_after_a_restart_of_the_gateway(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    gateway.until_respawned("worker 0", gateway.kill("worker 0"))
    gateway.stop()

    with GatewayProcess(gateway.directory, gateway.settings, gateway.command) as after:
        assert after.metric("tiltyard_process_restarts_total", role="worker") == 1


def test_it_can_be_stopped_before_it_serves(new_scripted: StartGateway) -> None:
    gateway = new_scripted(one_model(NOWHERE), environment={"TEST_WORKER": "hang-in-start"})
    eventually(
        lambda: (gateway.state / "told.jsonl").exists() and "worker-0 starts" in order(gateway, "starts"),
        "the worker starts",
    )

    gateway.send(signal.SIGTERM)

    assert gateway.wait() == 0


def test_a_process_that_refuses_to_start_stops_the_gateway_with_its_reason(
    new_scripted: StartGateway,
) -> None:
    gateway = new_scripted(one_model(NOWHERE), environment={"TEST_WORKER": "refuse"})

    assert gateway.wait() == 1
    (failed,) = gateway.events("start-failed")
    assert failed["reason"] == "worker 0: the test wants it so"


def test_a_process_that_crashes_at_every_start_stops_the_gateway(new_scripted: StartGateway) -> None:
    gateway = new_scripted(one_model(NOWHERE), environment={"TEST_WORKER": "crash"})

    assert gateway.wait() == 1
    (failed,) = gateway.events("start-failed")
    assert failed["reason"] == "worker 0: ended 5 times before it was ready"
    assert len(gateway.events("process-ended")) == 5


def test_a_second_gateway_on_the_same_state_is_refused(
    start_scripted: StartGateway, new_scripted: StartGateway
) -> None:
    first = start_scripted(one_model(NOWHERE))

    second = new_scripted(one_model(NOWHERE, state=str(first.state)))

    assert second.wait() == 1
    assert second.log() == (f"tiltyard: state: {first.state} is in use by another gateway (pid {first.pid})\n")
    assert first.get("/readyz").status_code == 200


def test_a_port_in_use_is_refused(new_scripted: StartGateway) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        listen = {"inference": address, "admin": "127.0.0.1:0"}

        gateway = new_scripted(one_model(NOWHERE, listen=listen))

        assert gateway.wait() == 1
    assert gateway.log() == (
        f"tiltyard: listen.inference: cannot listen on {address}: the address is in use by another process\n"
    )


def test_a_broken_configuration_is_refused_with_every_error(new_scripted: StartGateway) -> None:
    gateway = new_scripted("modles: {}\nworkers: none\n")

    assert gateway.wait() == 1
    lines = gateway.log().splitlines()
    assert [line.removeprefix(f"{gateway.config_path}:").partition(": ")[0] for line in lines] == [
        "1:1",
        "1:1",
        "2:10",
    ]


def test_a_state_directory_that_cannot_be_had_is_refused(new_scripted: StartGateway) -> None:
    gateway = new_scripted(one_model(NOWHERE, state="gateway.yaml/state"))

    assert gateway.wait() == 1
    assert gateway.log().startswith("tiltyard: state: cannot use ")


def test_a_model_that_cannot_be_loaded_stops_the_gateway(new_scripted: StartGateway, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    model = {"versions": {"1": {"onnx": str(broken)}}, "champion": "1"}

    gateway = new_scripted(config({"m": model}))

    assert gateway.wait() == 1
    (failed,) = gateway.events("start-failed")
    assert failed["reason"].startswith("model m/1: ")
    assert str(broken) in failed["reason"]


def test_the_admin_listener_serves_while_a_worker_is_down(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    os.kill(gateway.pids()["worker 0"], signal.SIGSTOP)

    assert gateway.client.get(f"{gateway.admin}/livez").json() == {"status": "live"}

    os.kill(gateway.pids()["worker 0"], signal.SIGCONT)
    assert isinstance(gateway.client.get(gateway.inference), httpx2.Response)
