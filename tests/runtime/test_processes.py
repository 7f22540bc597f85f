"""The processes of a gateway: started in order, kept running, stopped in order. Real processes all."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import SCRIPTED_ROLES, StartGateway
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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with two workers, for tests that leave it as whole as they found it."""
    directory = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(directory, one_model(NOWHERE), SCRIPTED_ROLES, ["--workers", "2"]) as gateway:
        yield gateway


def restarts(gateway: GatewayProcess, role: str) -> float:
    return gateway.metric("tiltyard_process_restarts_total", role=role) or 0.0


def test_it_says_where_it_serves_and_with_which_processes(shared: GatewayProcess) -> None:
    (serving,) = shared.events("serving")

    assert serving["inference"] == shared.inference
    assert serving["admin"] == shared.admin
    assert serving["pid"] == shared.pid
    # As many workers as the command line says, which overrides the file.
    assert list(serving["processes"]) == ["worker 0", "worker 1", "shadow", "control"]


def test_every_process_says_what_it_is(shared: GatewayProcess) -> None:
    pids = shared.pids()

    assert {title: title_of(pid) for title, pid in pids.items()} == {title: f"tiltyard: {title}" for title in pids}
    assert title_of(shared.pid) == "tiltyard: supervisor"


@pytest.mark.parametrize("title", ["worker 0", "shadow", "control"])
def test_a_killed_process_is_started_again_and_counted(shared: GatewayProcess, title: str) -> None:
    role = title.partition(" ")[0]
    before, counted = shared.processes()[title]["restarts"], restarts(shared, role)

    former = shared.kill(title)
    shared.until_respawned(title, former)

    assert shared.processes()[title]["restarts"] == before + 1
    assert restarts(shared, role) == counted + 1
    (ended,) = [event for event in shared.events("process-ended") if event["pid"] == former]
    assert ended["status"] == -signal.SIGKILL


def test_a_request_that_finds_every_worker_dead_is_answered_by_the_next(shared: GatewayProcess) -> None:
    formers = {title: shared.kill(title) for title in ("worker 0", "worker 1")}

    answer = shared.client.get(shared.inference).json()

    assert answer["pid"] not in formers.values()
    afterwards = [shared.until_respawned(title, former) for title, former in formers.items()]
    assert answer["pid"] in afterwards


def test_a_process_that_dies_again_and_again_is_still_started_again(shared: GatewayProcess) -> None:
    before = shared.processes()["worker 0"]["restarts"]

    for _ in range(3):
        shared.until_respawned("worker 0", shared.kill("worker 0"))

    assert shared.processes()["worker 0"]["restarts"] == before + 3
    assert shared.get("/readyz").status_code == 200


def test_children_leave_signals_to_the_supervisor(shared: GatewayProcess) -> None:
    pids = shared.pids()

    for pid in pids.values():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)

    assert shared.get("/readyz").status_code == 200
    assert shared.pids() == pids


def test_the_admin_listener_serves_while_a_worker_hangs(shared: GatewayProcess) -> None:
    worker = shared.pids()["worker 0"]
    os.kill(worker, signal.SIGSTOP)

    assert shared.get("/livez").json() == {"status": "live"}
    assert shared.get("/readyz").status_code == 200

    os.kill(worker, signal.SIGCONT)


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


def test_a_killed_supervisor_takes_its_children_along_and_the_next_goes_on(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    gateway.until_respawned("shadow", gateway.kill("shadow"))
    pids = gateway.pids()
    runtime_directory = json.loads((gateway.state / "gateway.json").read_text())["runtime_directory"]

    gateway.process.kill()
    gateway.wait()

    eventually(lambda: not any(map(is_alive, pids.values())), "the children end")
    assert set(order(gateway, "drained")) == {"worker-0 drained", "shadow drained"}
    # The next one on the same state cleans up after it, and goes on with its counts.
    with GatewayProcess(gateway.directory, gateway.settings, gateway.command) as after:
        assert not Path(runtime_directory).exists()
        assert after.get("/readyz").status_code == 200
        assert restarts(after, "shadow") == 1


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
