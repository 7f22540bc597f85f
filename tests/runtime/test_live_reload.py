"""Live reload through real processes: what changes, in which order, and what a bad file does not change."""

import json
import os
import signal
import stat
from pathlib import Path

import pytest

from tests.support.fixtures import StartGateway
from tests.support.gateway_process import GatewayProcess, Json, config, one_model
from tests.support.onnx_files import adds
from tests.support.polling import eventually

NOWHERE = "http://127.0.0.1:9"
ELSEWHERE = "http://127.0.0.1:19"


def told(gateway: GatewayProcess) -> list[tuple[str, str, str]]:
    """(process, what, config id) of everything the scripted roles were told, in order."""
    lines = (gateway.state / "told.jsonl").read_text().splitlines()
    found: list[Json] = [json.loads(line) for line in lines]
    return [(line["name"], line["what"], line["id"]) for line in found]


def in_force(gateway: GatewayProcess) -> str:
    return str(gateway.readyz()["config_id"])


def served_by(gateway: GatewayProcess) -> str:
    """The configuration that a worker answers on."""
    return str(gateway.client.get(gateway.inference).json()["config_id"])


def until_changed(gateway: GatewayProcess, former: str) -> str:
    """Wait for another configuration to be in force, in the workers too; its id."""

    def changed() -> str | None:
        reload = gateway.readyz()["reload"]
        return None if reload["config_id"] == former else reload["config_id"]

    return eventually(changed, f"another configuration than {former}")


def until_refused(gateway: GatewayProcess) -> list[str]:
    """Wait until the file is refused; the errors."""

    def refused() -> list[str] | None:
        reload = gateway.readyz()["reload"]
        return reload["errors"] if reload["outcome"] == "refused" else None

    return eventually(refused, "the file is refused")


def onnx_model(*files: Path) -> Json:
    versions = {str(number): {"onnx": str(path)} for number, path in enumerate(files, 1)}
    return {"m": {"versions": versions, "champion": "1", "timeout": "200ms"}}


def test_an_edited_file_is_applied_by_every_process(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE, workers=2))
    first = in_force(gateway)

    gateway.write(one_model(ELSEWHERE, workers=2))
    second = until_changed(gateway, first)

    applied = [(name, config_id) for name, what, config_id in told(gateway) if what == "apply"]
    assert applied[0] == ("shadow", second)
    assert sorted(applied[1:]) == [("worker-0", second), ("worker-1", second)]
    assert served_by(gateway) == second
    assert gateway.get("/api/config").json()["config_id"] == second
    assert gateway.metric("tiltyard_config_reloads_total", outcome="applied") == 1
    assert gateway.metric("tiltyard_config_last_reload_successful") == 1
    (event,) = gateway.events("config-applied")
    assert event["config_id"] == second


def test_a_bad_file_changes_nothing_and_says_why(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first, pids = in_force(gateway), gateway.pids()

    gateway.write("models: {echo: {versions: {}, champion: 7}}\n")
    errors = until_refused(gateway)

    assert errors
    assert all(error.startswith(f"{gateway.config_path}:1:") for error in errors)
    assert gateway.get("/readyz").status_code == 200
    assert (in_force(gateway), served_by(gateway), gateway.pids()) == (first, first, pids)
    assert gateway.metric("tiltyard_config_reloads_total", outcome="refused") == 1
    assert gateway.metric("tiltyard_config_last_reload_successful") == 0
    (event,) = gateway.events("config-refused")
    assert event["errors"] == errors


def test_a_good_file_after_a_bad_one_is_applied(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first = in_force(gateway)
    gateway.write("models:\n")
    until_refused(gateway)

    gateway.write(one_model(ELSEWHERE))
    second = until_changed(gateway, first)

    assert gateway.readyz()["reload"]["errors"] == []
    assert served_by(gateway) == second
    assert gateway.metric("tiltyard_config_last_reload_successful") == 1


def test_a_file_that_is_gone_changes_nothing(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))

    gateway.config_path.unlink()

    assert until_refused(gateway) == [f"{gateway.config_path}:1:1: no such file"]
    gateway.write(one_model(NOWHERE))
    eventually(lambda: gateway.readyz()["reload"]["outcome"] == "unchanged", "the file is back")


def test_sighup_reads_the_file_again(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))

    gateway.send(signal.SIGHUP)

    eventually(lambda: gateway.events("config-unchanged"), "the file is read again")
    assert gateway.metric("tiltyard_config_reloads_total", outcome="applied") is None


def test_the_admin_api_reads_the_file_now(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first = in_force(gateway)

    unchanged = gateway.post("/api/reload").json()
    gateway.write(one_model(ELSEWHERE))
    applied = gateway.post("/api/reload").json()
    gateway.write("models: 7\n")
    refused = gateway.post("/api/reload")

    assert (unchanged["outcome"], unchanged["config_id"]) == ("unchanged", first)
    # The watcher may have been first: then there was nothing left to apply.
    assert applied["outcome"] in ("applied", "unchanged")
    assert applied["config_id"] == served_by(gateway) != first
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["code"] == "config-refused"
    assert problem["errors"][0].startswith(f"{gateway.config_path}:1:9: ")


def test_what_needs_a_restart_is_refused_by_name(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first = in_force(gateway)

    gateway.write(one_model(ELSEWHERE, workers=2, state="elsewhere"))

    assert until_refused(gateway) == [
        f"{key}: cannot be changed while the gateway runs; restart it to change this key"
        for key in ("workers", "state")
    ]
    assert in_force(gateway) == served_by(gateway) == first


def test_a_configuration_swapped_by_symbolic_link_is_noticed(start_scripted: StartGateway) -> None:
    """The way a mounted ConfigMap changes: a link to a link is swapped, the file's path stays."""
    gateway = start_scripted(one_model(NOWHERE))
    first, directory = in_force(gateway), gateway.directory
    for name, url in (("one", NOWHERE), ("two", ELSEWHERE)):
        (directory / name).mkdir()
        (directory / name / "gateway.yaml").write_text(json.dumps(one_model(url)))
    (directory / "data").symlink_to("one")
    gateway.config_path.unlink()
    gateway.config_path.symlink_to("data/gateway.yaml")
    gateway.post("/api/reload")
    assert in_force(gateway) == first

    (directory / "data.new").symlink_to("two")
    (directory / "data.new").replace(directory / "data")

    assert until_changed(gateway, first) == served_by(gateway)


def test_a_file_that_is_being_written_is_taken_once_it_is_whole(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first = in_force(gateway)
    text = json.dumps(one_model(ELSEWHERE))

    with gateway.config_path.open("w") as file:
        for letter in text:
            file.write(letter)
            file.flush()

    assert until_changed(gateway, first) == served_by(gateway)


def test_of_many_edits_the_last_is_in_force(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    for port in range(100, 130):
        gateway.write(one_model(f"http://127.0.0.1:{port}"))

    found = gateway.post("/api/reload").json()

    assert served_by(gateway) == found["config_id"]
    model = gateway.get("/api/config").json()["config"]["models"]["echo"]
    assert model["versions"]["1"]["urls"] == ["http://127.0.0.1:129"]


def test_a_process_started_after_a_reload_runs_on_the_new_configuration(
    start_scripted: StartGateway,
) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first = in_force(gateway)
    gateway.write(one_model(ELSEWHERE))
    second = until_changed(gateway, first)

    gateway.until_respawned("worker 0", gateway.kill("worker 0"))
    gateway.until_respawned("shadow", gateway.kill("shadow"))

    assert served_by(gateway) == second
    # Offers may still name the former configuration, so the shadow process is told of it, first.
    assert [line for line in told(gateway) if line[0] == "shadow"][-2:] == [
        ("shadow", "remember", first),
        ("shadow", "start", second),
    ]


def test_a_worker_that_cannot_follow_is_started_afresh(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE), environment={"TEST_WORKER": "fail-apply"})
    first, former = in_force(gateway), gateway.pids()["worker 0"]

    gateway.write(one_model(ELSEWHERE))
    second = until_changed(gateway, first)

    gateway.until_respawned("worker 0", former)
    assert served_by(gateway) == second
    (event,) = gateway.events("process-restart")
    assert "the test wants it so" in event["reason"]


def test_an_edit_while_the_control_process_is_down_is_not_missed(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first, former = in_force(gateway), gateway.pids()["control"]
    os.kill(former, signal.SIGSTOP)

    gateway.write(one_model(ELSEWHERE))
    os.kill(former, signal.SIGKILL)
    gateway.until_respawned("control", former)

    assert until_changed(gateway, first) == served_by(gateway)


def test_a_reload_does_not_wait_for_a_shadow_process_that_hangs(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE))
    first, shadow = in_force(gateway), gateway.pids()["shadow"]
    os.kill(shadow, signal.SIGSTOP)

    gateway.write(one_model(ELSEWHERE))
    second = until_changed(gateway, first)

    assert served_by(gateway) == second
    assert gateway.events("shadow-slow")
    os.kill(shadow, signal.SIGCONT)
    eventually(lambda: ("shadow", "apply", second) in told(gateway), "the shadow process follows")


def test_a_new_model_server_serves_before_anybody_is_sent_to_it(start_scripted: StartGateway, tmp_path: Path) -> None:
    old, new = adds(tmp_path / "1.onnx", 1.0), adds(tmp_path / "2.onnx", 2.0)
    gateway = start_scripted(config(onnx_model(old)))
    first = in_force(gateway)
    assert list(gateway.pids())[2:] == ["model m/1", "control"]

    gateway.write(config(onnx_model(old, new)))
    until_changed(gateway, first)

    states = {title: process["state"] for title, process in gateway.processes().items()}
    assert states["model m/1"] == states["model m/2"] == "ready"


def test_a_model_server_that_nobody_names_goes_once_its_last_request_must_be_over(
    start_scripted: StartGateway, tmp_path: Path
) -> None:
    old, new = adds(tmp_path / "1.onnx", 1.0), adds(tmp_path / "2.onnx", 2.0)
    gateway = start_scripted(config(onnx_model(old, new)))
    first, pids = in_force(gateway), gateway.pids()

    gateway.write(config(onnx_model(old)))
    until_changed(gateway, first)

    assert gateway.pids()["model m/2"] == pids["model m/2"]
    eventually(lambda: "model m/2" not in gateway.pids(), "the model server is gone")
    assert gateway.pids()["model m/1"] == pids["model m/1"]


def test_a_model_server_that_is_named_again_in_time_stays(start_scripted: StartGateway, tmp_path: Path) -> None:
    old, new = adds(tmp_path / "1.onnx", 1.0), adds(tmp_path / "2.onnx", 2.0)
    settings = config(onnx_model(old, new))
    settings["models"]["m"]["timeout"] = "60s"
    gateway = start_scripted(settings)
    first, pids = in_force(gateway), gateway.pids()

    gateway.write(config(onnx_model(old)))
    until_changed(gateway, first)
    gateway.write(settings)
    eventually(lambda: in_force(gateway) == first, "the former configuration is back")

    assert gateway.pids() == pids


def test_a_model_that_cannot_be_loaded_refuses_the_reload(start_scripted: StartGateway, tmp_path: Path) -> None:
    old, broken = adds(tmp_path / "1.onnx", 1.0), tmp_path / "2.onnx"
    broken.write_bytes(b"not a model")
    gateway = start_scripted(config(onnx_model(old)))
    first, pids = in_force(gateway), gateway.pids()

    gateway.write(config(onnx_model(old, broken)))
    (error,) = until_refused(gateway)

    assert error.startswith("model m/2: ")
    assert str(broken) in error
    assert in_force(gateway) == first
    assert gateway.pids() == pids


def test_a_model_trained_anew_under_the_same_name_is_served_after_a_reload(
    start_scripted: StartGateway, tmp_path: Path
) -> None:
    path = adds(tmp_path / "1.onnx", 1.0)
    gateway = start_scripted(config(onnx_model(path)))
    first = in_force(gateway)

    adds(path, 2.0)
    gateway.post("/api/reload")

    assert in_force(gateway) != first
    servers = [process for process in gateway.readyz()["processes"] if process["role"] == "model"]
    assert {server["title"] for server in servers} == {"model m/1"}
    eventually(
        lambda: len([one for one in gateway.readyz()["processes"] if one["role"] == "model"]) == 1,
        "only the new server is left",
    )


@pytest.mark.parametrize("title", ["model m/1"])
def test_a_killed_model_server_is_started_again_on_the_same_socket(
    start_scripted: StartGateway, tmp_path: Path, title: str
) -> None:
    gateway = start_scripted(config(onnx_model(adds(tmp_path / "1.onnx", 1.0))))
    record = json.loads((gateway.state / "gateway.json").read_text())
    (path,) = Path(record["runtime_directory"]).glob("model-*.sock")
    before = path.stat()

    gateway.until_respawned(title, gateway.kill(title))

    assert path.stat().st_ino == before.st_ino
    assert stat.S_IMODE(before.st_mode) == 0o600
