"""What the control process of a real gateway says of requests that were really served and shadowed."""

import shutil

from tests.support.backends import computes
from tests.support.fixtures import StartBackend, StartGateway
from tests.support.gateway_process import Json, config
from tests.support.polling import eventually

REQUESTS = 20


def two_versions(champion: str, challenger: str, **keys: object) -> Json:
    versions = {"1": {"urls": [champion]}, "2": {"urls": [challenger]}}
    model = {"protocol": "json", "versions": versions, "champion": "1", "challengers": {"2": {}}}
    return config({"echo": model}, **keys)


def test_reports_and_pairs_are_served_and_rolled(start_backend: StartBackend, start_gateway: StartGateway) -> None:
    champion = start_backend(computes(lambda request: {"got": len(request.body)}))
    challenger = start_backend(computes(lambda request: {"got": len(request.body), "more": 1}))
    gateway = start_gateway(two_versions(champion.url, challenger.url, pairs={"roll": "1s", "payload": "body"}))

    for number in range(REQUESTS):
        answer = gateway.infer("/models/echo/x", {"n": number})

    def report() -> Json | None:
        found: Json = gateway.get("/api/models/echo/report").json()["challengers"]["2"]
        return found if found["agreement"]["compared"] == REQUESTS else None

    found = eventually(report, "every pair is in the report")
    assert found["agreement"]["agree"] == 0
    # The same pair, found in the journal and then in a Parquet file.
    request_id = answer.headers["x-request-id"]
    (in_journal,) = gateway.get(f"/api/pairs/{request_id}").json()["pairs"]
    assert in_journal["champion_answer"] == answer.text
    assert in_journal["paths"] == ["$.more"]
    eventually(lambda: list(gateway.state.glob("pairs/**/*.parquet")), "the journal is rolled")
    (in_parquet,) = gateway.get(f"/api/pairs/{request_id}").json()["pairs"]
    assert in_parquet == in_journal


def test_a_pair_store_that_cannot_be_used_is_said_and_serving_goes_on(
    start_backend: StartBackend, start_gateway: StartGateway
) -> None:
    champion = start_backend(computes(lambda request: {}))
    gateway = start_gateway(two_versions(champion.url, champion.url))

    shutil.rmtree(gateway.state / "pairs", ignore_errors=True)
    (gateway.state / "pairs").write_text("not a directory")

    eventually(lambda: gateway.events("pairs-not-rolled"), "the failure is said")

    assert gateway.infer("/models/echo/x", {}).status_code == 200
    assert gateway.get("/readyz").status_code == 200


def test_a_backend_that_is_down_is_named_and_the_gateway_is_ready_all_the_same(
    start_backend: StartBackend, start_gateway: StartGateway
) -> None:
    champion, challenger = start_backend(), start_backend()
    challenger.close()
    gateway = start_gateway(two_versions(champion.url, challenger.url))

    named = eventually(lambda: gateway.readyz()["unreachable"], "the dead challenger is named")

    assert named == [f"echo/2 127.0.0.1:{challenger.port}"]
    assert gateway.get("/readyz").status_code == 200
