"""The admin listener: what it answers, whom it lets in, how it describes itself."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

import gateway
from gateway.control.admin.api import Api, Sources
from gateway.control.admin.app import AdminServer, make_app
from gateway.control.admin.page import MODELS_SHOWN, page
from gateway.control.admin.problems import AdminProblem
from gateway.control.reload import Reloader, Source
from gateway.control.status import GatewayStatus, ProcessStatus
from gateway.core.config import Gateway, canonical
from gateway.core.counters import Counters
from gateway.core.pair import Pair
from gateway.core.ports import PairStoreError
from gateway.core.snapshot import Snapshot
from gateway.evidence.report_document import Report, Requests
from tests.support.configurations import snapshot
from tests.support.gateway_process import Json, config

PAIR = msgspec.convert(
    {
        "sequence": 1,
        "request_id": "01938f2e-7b1c-7a4e-9d0c-5a1f0e6b2c3d",
        "at_us": 1,
        "model": "m",
        "champion": "1",
        "challenger": "2",
        "config_id": "cafe",
        "tenant": "t",
        "client": "127.0.0.1",
        "path": "/v2/models/m/infer",
        "slices": {},
        "probability": 1.0,
        "outcome": "ok",
        "detail": "",
        "agree": True,
        "difference": 0.0,
        "paths": (),
        "champion_status": 200,
        "champion_us": 1,
        "challenger_status": 200,
        "challenger_us": 1,
        "request": "",
        "request_form": "none",
        "champion_answer": "",
        "champion_form": "none",
        "challenger_answer": "",
        "challenger_form": "none",
    },
    Pair,
)
SETTINGS = config(
    {
        "m": {
            "owner": "ops",
            "versions": {"1": {"urls": ["http://a"]}, "2": {"urls": ["http://b"]}},
            "champion": "1",
            "challengers": {"2": {"percent": 25}},
        },
        "a.b": {"protocol": "json", "versions": {"1": {"urls": ["http://c"]}}, "champion": "1"},
    },
    state="/state",
)


class Supervisor:
    def __init__(self) -> None:
        self.answers = True
        self.draining = False
        self.worker: str = "ready"

    async def status(self) -> GatewayStatus:
        if not self.answers:
            raise OSError("the supervisor has not answered within 2 s")
        facts: dict[str, object] = {"unreachable": ["m/2 b:80"]}
        workers = [
            msgspec.convert(
                {
                    "name": f"worker-{index}",
                    "title": f"worker {index}",
                    "role": "worker",
                    "state": self.worker,
                    "pid": None,
                    "restarts": 0,
                    "silent_s": 0.0,
                    "facts": facts,
                },
                ProcessStatus,
            )
            for index in (0, 1)
        ]
        return GatewayStatus("cafe", "127.0.0.1:1", "127.0.0.1:2", self.draining, tuple(workers))

    async def roll_out(self, config_id: str, document: bytes) -> tuple[str, ...]:
        return ()


class Evidence:
    def report(self, snapshot: Snapshot, model: str) -> Report:
        if model == "a.b":
            raise PairStoreError("cannot read pairs: torn")
        return Report(
            model=model,
            config_id=snapshot.id,
            champion="1",
            generated_at="2026-01-01T00:00:00Z",
            requests=Requests(total=0, outcomes={}, by_version={}),
            latency=None,
            challengers={},
        )

    def pairs(self, request_id: str) -> Sequence[Pair]:
        if request_id == "broken":
            raise ZeroDivisionError("a defect")
        return [PAIR] if request_id == PAIR.request_id else []


class Admin:
    """The application with its parts in the test's hands."""

    def __init__(self, directory: Path):
        self.supervisor = Supervisor()
        self.snapshot = snapshot(SETTINGS)
        self.path = directory / "gateway.yaml"
        self.path.write_text(json.dumps({**SETTINGS, "state": "/state"}))
        self.counters = Counters(directory / "counters", "control", capacity=1000)
        self.reloader = Reloader(Source(self.path, {}), self.supervisor, self.counters)
        self.reloader.adopt(self.snapshot)
        self.api = Api(
            Sources(
                supervisor=self.supervisor,
                reloader=self.reloader,
                snapshot=lambda: self.snapshot,
                counters=directory / "counters",
                evidence=Evidence(),
            )
        )
        self.app = make_app(self.api, frozenset({"gateway.internal"}))

    @asynccontextmanager
    async def client(self, peer: str = "127.0.0.1") -> AsyncIterator[httpx2.AsyncClient]:
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False, client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
            yield client

    def ask(self, path: str, method: str = "GET", peer: str = "127.0.0.1", **fields: str) -> httpx2.Response:
        """One request; `x_name` becomes the field `x-name`."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}

        async def call() -> httpx2.Response:
            async with self.client(peer) as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(call())


@pytest.fixture
def admin(tmp_path: Path) -> Any:
    made = Admin(tmp_path)
    yield made
    made.counters.close()


def problem(answer: httpx2.Response) -> tuple[int, str, str]:
    """Status, code and detail of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == answer.status_code
    assert found["type"] == f"urn:tiltyard:problem:{found['code']}"
    return answer.status_code, found["code"], found["detail"]


def test_livez_asks_nobody(admin: Admin) -> None:
    admin.supervisor.answers = False

    assert admin.ask("/livez").json() == {"status": "live"}


def test_readyz_says_all_that_is_known(admin: Admin) -> None:
    answer = admin.ask("/readyz")

    assert answer.status_code == 200
    found = answer.json()
    assert (found["status"], found["config_id"]) == ("ready", "cafe")
    assert found["unreachable"] == ["m/2 b:80"]
    assert found["reload"]["outcome"] == "unchanged"
    assert [process["title"] for process in found["processes"]] == ["worker 0", "worker 1"]


@pytest.mark.parametrize(
    ("worker", "draining", "word"),
    [("starting", False, "not-ready"), ("down", False, "not-ready"), ("ready", True, "stopping")],
)
def test_readyz_is_503_when_nobody_serves(admin: Admin, worker: str, draining: bool, word: str) -> None:
    admin.supervisor.worker, admin.supervisor.draining = worker, draining

    answer = admin.ask("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (503, word)


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_supervisor_that_does_not_answer_is_said(admin: Admin, path: str) -> None:
    admin.supervisor.answers = False

    assert problem(admin.ask(path)) == (
        503,
        "unavailable",
        "the supervisor has not answered within 2 s",
    )


def test_metrics_are_in_the_prometheus_format(admin: Admin) -> None:
    answer = admin.ask("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'tiltyard_process_up{process="worker-0"} 1.0\n' in answer.text


def test_models_are_listed_as_they_are_configured(admin: Admin) -> None:
    found = admin.ask("/api/models").json()

    assert found["config_id"] == admin.snapshot.id
    models: dict[str, Json] = {model["name"]: model for model in found["models"]}
    assert models["m"] == {
        "name": "m",
        "owner": "ops",
        "protocol": "open-inference",
        "champion": "1",
        "challengers": [{"version": "2", "percent": 25.0}],
        "versions": ["1", "2"],
    }
    assert models["a.b"]["challengers"] == []


def test_a_report_is_the_evidence_on_one_model(admin: Admin) -> None:
    found = admin.ask("/api/models/m/report").json()
    assert (found["model"], found["config_id"], found["challengers"]) == ("m", admin.snapshot.id, {})
    assert problem(admin.ask("/api/models/nobody/report"))[:2] == (404, "model-not-found")
    assert problem(admin.ask("/api/models/a.b/report")) == (
        503,
        "unavailable",
        "cannot read pairs: torn",
    )


def test_the_pairs_of_a_request_can_be_read(admin: Admin) -> None:
    found = admin.ask(f"/api/pairs/{PAIR.request_id}").json()

    assert found == {"request_id": PAIR.request_id, "pairs": [json.loads(msgspec.json.encode(PAIR))]}
    assert problem(admin.ask("/api/pairs/unknown"))[:2] == (404, "pair-not-found")


def test_the_configuration_in_force_can_be_read_back(admin: Admin) -> None:
    found = admin.ask("/api/config").json()

    assert found["config_id"] == admin.snapshot.id
    again = Gateway.model_validate_json(json.dumps(found["config"]))
    assert canonical(again) == canonical(admin.snapshot.config)


def test_a_reload_is_answered_with_what_came_of_it(admin: Admin) -> None:
    async def talk() -> tuple[httpx2.Response, httpx2.Response]:
        running = asyncio.create_task(admin.reloader.run())
        async with admin.client() as client:
            good = await client.post("/api/reload")
            admin.path.write_text("models: 7\n")
            bad = await client.post("/api/reload")
        admin.reloader.stop()
        await running
        return good, bad

    good, bad = asyncio.run(talk())

    assert (good.status_code, good.json()["outcome"]) == (200, "unchanged")
    assert problem(bad)[:2] == (422, "config-refused")
    (error,) = bad.json()["errors"]
    assert error.startswith(f"{admin.path}:1:9: ")


def test_the_page_leads_to_everything(admin: Admin) -> None:
    answer = admin.ask("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for link in ("/readyz", "/metrics", "/api/openapi.json", "/api/models/a.b/report"):
        assert f'href="{link}"' in answer.text


def test_the_page_escapes_names_and_stays_short() -> None:
    names = ["<script>", *(f"m{number}" for number in range(MODELS_SHOWN + 9))]

    content = page("1", "cafe", names)

    assert "<script>" not in content
    assert 'href="/api/models/%3Cscript%3E/report"' in content
    assert "and 10 more" in content


def test_what_is_not_served_is_a_problem(admin: Admin) -> None:
    assert problem(admin.ask("/nothing"))[:2] == (404, "not-found")
    assert problem(admin.ask("/api/reload"))[:2] == (405, "method-not-allowed")
    assert admin.ask("/api/reload").headers["allow"] == "POST"


def test_a_defect_is_a_problem_without_its_inside(admin: Admin) -> None:
    assert problem(admin.ask("/api/pairs/broken")) == (
        500,
        "internal",
        "the request could not be answered",
    )


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_the_machine_itself_is_let_in(admin: Admin, peer: str) -> None:
    assert admin.ask("/livez", peer=peer).status_code == 200


@pytest.mark.parametrize("peer", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "testclient", ""])
def test_nobody_else_is_let_in(admin: Admin, peer: str) -> None:
    for path, method in (("/livez", "GET"), ("/metrics", "GET"), ("/api/reload", "POST")):
        assert problem(admin.ask(path, method, peer))[:2] == (403, "forbidden")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8081",
        "[::1]:8081",
        "localhost",
        "LOCALHOST:1",
        "a.localhost",
        "gateway.internal:8081",
        "10.0.0.9",
        "",
    ],
)
def test_a_host_that_is_an_address_or_this_machine_is_answered(admin: Admin, host: str) -> None:
    assert admin.ask("/livez", host=host).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8081", "localhost.evil.example", "[::1", "127.0.0.1.evil"])
def test_a_name_that_somebody_else_made_lead_here_is_refused(admin: Admin, host: str) -> None:
    assert problem(admin.ask("/livez", host=host))[:2] == (403, "forbidden")


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://127.0.0.1:9999"},
    ],
)
def test_a_page_of_elsewhere_cannot_change_anything(admin: Admin, fields: dict[str, str]) -> None:
    assert problem(admin.ask("/api/reload", "POST", **fields))[:2] == (403, "forbidden")
    assert admin.ask("/livez", **fields).status_code == 200


def test_a_page_of_the_gateway_itself_is_no_page_of_elsewhere(admin: Admin) -> None:
    async def talk() -> httpx2.Response:
        running = asyncio.create_task(admin.reloader.run())
        fields = {"origin": "http://127.0.0.1:8081", "sec-fetch-site": "same-origin"}
        async with admin.client() as client:
            answer = await client.post("/api/reload", headers=fields)
        admin.reloader.stop()
        await running
        return answer

    assert asyncio.run(talk()).status_code == 200


def test_the_openapi_document_describes_every_path(admin: Admin) -> None:
    document = admin.ask("/api/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == gateway.__version__
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    assert described == {(endpoint.path, endpoint.method) for endpoint in admin.api.endpoints}
    report = document["paths"]["/api/models/{model}/report"]["get"]
    assert [parameter["name"] for parameter in report["parameters"]] == ["model"]
    assert set(report["responses"]) == {"200", "403", "404", "503"}


def test_the_openapi_document_has_no_dangling_reference(admin: Admin) -> None:
    document = admin.ask("/api/openapi.json").json()

    def references(part: object) -> list[str]:
        match part:
            case {"$ref": str(reference)}:
                return [reference]
            case dict():
                return [found for value in part.values() for found in references(value)]
            case list():
                return [found for value in part for found in references(value)]
            case _:
                return []

    schemas = document["components"]["schemas"]
    found = references(document)
    assert "#/components/schemas/Readiness" in found
    assert {reference.rpartition("/")[2] for reference in found} <= schemas.keys()


def test_operations_have_names_of_their_own(admin: Admin) -> None:
    names = [endpoint.name for endpoint in admin.api.endpoints]

    assert len(set(names)) == len(names)
    assert len({problem.code for problem in AdminProblem}) == len(AdminProblem)


def test_it_is_served_on_a_socket_until_it_is_stopped(admin: Admin) -> None:
    async def serve() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = AdminServer(admin.app, listener)
        await server.start()
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/livez")
        await server.stop()
        assert answer.json() == {"status": "live"}
        assert "server" not in answer.headers
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(serve())


def test_a_server_that_never_started_can_be_stopped(admin: Admin) -> None:
    async def stop() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await AdminServer(admin.app, listener).stop()

    asyncio.run(stop())
