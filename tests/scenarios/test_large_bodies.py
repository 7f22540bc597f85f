"""Bodies over the cap are served, not mirrored, and counted; what fits is mirrored whole, streamed or not."""

from hashlib import sha256
from pathlib import Path

from tests.support.backends import Backend, Behaviour, Connection, Seen, answers, echoes
from tests.support.fixtures import StartBackend, start_backend
from tests.support.gateway_books import at_rest, journalled, skipped
from tests.support.gateway_process import GatewayProcess, config
from tests.support.load import Answer, Load, post
from tests.support.polling import eventually

__all__ = ["start_backend"]

CAP = 300_000
BUFFER = 64 * 1024
"""Bodies up to this are gathered before they are forwarded; larger ones stream."""


def settings(champion: Backend, challenger: Backend) -> dict[str, object]:
    model = {
        "protocol": "json",
        "versions": {"1": {"urls": [champion.url]}, "2": {"urls": [challenger.url]}},
        "champion": "1",
        "challengers": {"2": {"answer": 2 * CAP}},
        "compare": {"kind": "json"},
    }
    return config({"m": model}, shadow={"body": CAP}, http={"buffer": BUFFER}, guards={"sizes": {"body": "8MiB"}})


def text(size: int) -> bytes:
    """A JSON text of exactly that size."""
    return b'"' + b"x" * (size - 2) + b'"'


def ask(gateway: GatewayProcess, *bodies: bytes) -> list[Answer]:
    load = Load(gateway.inference, lambda number: post("/models/m/x", bodies[number]), 1, len(bodies)).start().join()
    assert not load.failures, load.failures
    return [load.answers[number] for number in range(len(bodies))]


def streams(body: bytes, piece: int = 50_000) -> Behaviour:
    """The body in chunks, each sent by itself."""

    async def behave(request: Seen, connection: Connection) -> None:
        await connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for place in range(0, len(body), piece):
            part = body[place : place + piece]
            await connection.send(b"%x\r\n%b\r\n" % (len(part), part))
        await connection.send(b"0\r\n\r\n")

    return behave


def test_a_request_over_the_cap_is_served_and_not_mirrored(tmp_path: Path, start_backend: StartBackend) -> None:
    champion, challenger = start_backend(answers(b'{"y":1}')), start_backend(answers(b'{"y":1}'))
    sizes = (10, BUFFER, BUFFER + 1, CAP, CAP + 1, 5_000_000)
    with GatewayProcess(tmp_path, settings(champion, challenger)) as gateway:
        found = ask(gateway, *map(text, sizes))
        account = at_rest(gateway, eligible=len(sizes))

    assert [answer.body for answer in found] == [b'{"y":1}'] * len(sizes)
    assert [len(request.body) for request in champion.requests] == list(sizes)
    # Exactly the cap is mirrored.
    assert sorted(len(request.body) for request in challenger.requests) == list(sizes[:4])
    assert skipped(account) == {"too_large": 2}
    assert account.stored == 4


def test_an_answer_over_the_cap_is_served_and_not_mirrored(tmp_path: Path, start_backend: StartBackend) -> None:
    champion, challenger = start_backend(echoes()), start_backend(echoes())
    sizes = (CAP, CAP + 1)
    with GatewayProcess(tmp_path, settings(champion, challenger)) as gateway:
        for size, behaviour in ((CAP, answers(text(CAP))), (CAP + 1, answers(text(CAP + 1)))):
            champion.behave(behaviour)
            challenger.behave(behaviour)
            (answer,) = ask(gateway, b"{}")
            assert len(answer.body) == size
        account = at_rest(gateway, eligible=len(sizes))

    assert challenger.count == 1
    assert skipped(account) == {"too_large": 1}
    assert account.stored == 1


def test_a_streamed_answer_is_mirrored_after_its_end_up_to_the_cap(tmp_path: Path, start_backend: StartBackend) -> None:
    champion, challenger = start_backend(), start_backend(answers(text(CAP)))
    with GatewayProcess(tmp_path, settings(champion, challenger)) as gateway:
        for size in (CAP, CAP + 1, 4 * CAP):
            champion.behave(streams(text(size)))
            (answer,) = ask(gateway, b"{}")
            assert answer.body == text(size)
        account = at_rest(gateway, eligible=3)
        (pair,) = journalled(gateway.state)

    assert skipped(account) == {"too_large": 2}
    assert (pair.outcome, pair.agree) == ("ok", True)
    assert pair.champion_answer == pair.challenger_answer == sha256(text(CAP)).hexdigest()


def test_a_request_that_streams_is_mirrored_whole(tmp_path: Path, start_backend: StartBackend) -> None:
    """Too large to be gathered before it is forwarded, and small enough to be mirrored."""
    champion, challenger = start_backend(echoes()), start_backend(echoes())
    with GatewayProcess(tmp_path, settings(champion, challenger)) as gateway:
        ask(gateway, text(CAP - 1), text(BUFFER + 1))
        account = at_rest(gateway, eligible=2)
        pairs = journalled(gateway.state)

    assert account.stored == 2
    assert [pair.agree for pair in pairs] == [True, True]
    assert {request.body for request in challenger.requests} == {request.body for request in champion.requests}


def test_a_challenger_that_answers_more_than_is_read_is_an_error(tmp_path: Path, start_backend: StartBackend) -> None:
    champion, challenger = start_backend(answers(b"{}")), start_backend(answers(text(2 * CAP + 1)))
    with GatewayProcess(tmp_path, settings(champion, challenger)) as gateway:
        ask(gateway, b"{}")
        account = at_rest(gateway, eligible=1)
        (pair,) = eventually(lambda: journalled(gateway.state), "the failed call is recorded")

    assert (account.sent, account.error) == (1, 1)
    assert pair.detail == f"the answer is larger than {2 * CAP} bytes"
