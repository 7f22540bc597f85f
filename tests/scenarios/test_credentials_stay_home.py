"""What a client trusted the champion with goes to no challenger; and no client can pass for a shadow."""

from pathlib import Path

from tests.support.backends import echoes
from tests.support.fixtures import StartBackend, start_backend
from tests.support.gateway_books import account_of, at_rest
from tests.support.gateway_process import GatewayProcess, config
from tests.support.load import Load, post

__all__ = ["start_backend"]

SECRETS = {
    "Authorization": "Bearer t0p",
    "cookie": "session=s3cr3t",
    "X-API-Key": "k1",
    "Api-Key": "k2",
    "Proxy-Authorization": "Basic cDpw",
    "X-Auth-Token": "k3",
    "X-Amz-Security-Token": "k4",
    "X-Goog-Api-Key": "k5",
}
HARMLESS = {"accept": "application/json", "x-team": "blue", "traceparent": "00-0af7-b7ad-01"}


def settings(champion: str, *challengers: str) -> dict[str, object]:
    versions = {str(number): {"urls": [url]} for number, url in enumerate((champion, *challengers), 1)}
    model = {
        "protocol": "json",
        "versions": versions,
        "champion": "1",
        "challengers": {name: {} for name in versions if name != "1"},
    }
    return config({"m": model})


def test_credentials_stay_home(tmp_path: Path, start_backend: StartBackend) -> None:
    champion, *challengers = (start_backend(echoes()) for _ in range(3))
    fields = "".join(f"{name}: {value}\r\n" for name, value in {**SECRETS, **HARMLESS}.items()).encode()
    with GatewayProcess(tmp_path, settings(champion.url, *(one.url for one in challengers))) as gateway:
        path = "/models/m/score?deep=1"
        load = Load(gateway.inference, lambda number: post(path, b'{"x":1}', fields=fields), 1, 1).start().join()
        for name in "23":
            assert at_rest(gateway, name, eligible=1).stored == 1
        refused_as_shadow(gateway)
        assert account_of(gateway).eligible == 1
    (answer,) = load.answers.values()
    request_id = answer.field(b"x-request-id")
    (at_champion,) = champion.requests
    for name, value in SECRETS.items():
        # A proxy's credentials end at the proxy (RFC 9110 section 11.7.2), whoever is behind it.
        assert at_champion.field(name) == (None if name == "Proxy-Authorization" else value)
    assert at_champion.field("x-shadow") is None
    for challenger in challengers:
        (seen,) = challenger.requests
        assert not [secret for secret in SECRETS.values() if secret.encode() in seen.head]
        assert (seen.method, seen.path, seen.body) == ("POST", "/score?deep=1", b'{"x":1}')
        assert seen.field("x-shadow") == "1"
        assert seen.field("x-request-id") == request_id
        assert {name: seen.field(name) for name in HARMLESS} == HARMLESS


def refused_as_shadow(gateway: GatewayProcess) -> None:
    """No client passes for a shadow, whatever it says of it."""
    marks = [b"x-shadow: 1\r\n", b"X-Shadow: 0\r\n", b"x-shadow:\r\n"]
    load = Load(gateway.inference, lambda number: post("/models/m/x", b"{}", fields=marks[number]), 1, len(marks))
    load.start().join()

    assert len(load.answers) == len(marks)
    for answer in load.answers.values():
        assert (answer.status, answer.field(b"content-type")) == (400, "application/problem+json")
        assert b'"code":"shadow-not-allowed"' in answer.body.replace(b" ", b"")
