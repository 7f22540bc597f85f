"""Bodies over the cap are served, not mirrored, and counted; what fits is mirrored whole, streamed or not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

import pytest

from gateway.core.pair import Pair
from gateway.evidence.accounting import Accounting
from tests.support.backends import Backend, Behaviour, Connection, Seen, answers, echoes
from tests.support.gateway_books import at_rest, journalled, skipped
from tests.support.gateway_process import GatewayProcess, Json, config
from tests.support.load import Answer, Load, post
from tests.support.polling import eventually

CAP = 300_000
BUFFER = 64 * 1024
"""Bodies up to this are gathered before they are forwarded; larger ones stream."""


@dataclass
class Place:
    """One model of the gateway that all tests here share, with its two backends."""

    model: str
    champion: Backend = field(default_factory=Backend)
    challenger: Backend = field(default_factory=Backend)
    gateway: GatewayProcess | None = None

    def settings(self) -> Json:
        return {
            "protocol": "json",
            "versions": {"1": {"urls": [self.champion.url]}, "2": {"urls": [self.challenger.url]}},
            "champion": "1",
            "challengers": {"2": {"answer": 2 * CAP}},
        }

    def behave(self, champion: Behaviour, challenger: Behaviour) -> None:
        self.champion.behave(champion)
        self.challenger.behave(challenger)

    def ask(self, *bodies: bytes) -> list[Answer]:
        assert self.gateway is not None
        path = f"/models/{self.model}/x"
        load = Load(self.gateway.inference, lambda number: post(path, bodies[number]), 1, len(bodies)).start().join()
        assert not load.failures, load.failures
        return [load.answers[number] for number in range(len(bodies))]

    def at_rest(self, eligible: int) -> Accounting:
        assert self.gateway is not None
        return at_rest(self.gateway, eligible=eligible, model=self.model)

    def pairs(self) -> list[Pair]:
        assert self.gateway is not None
        return [pair for pair in journalled(self.gateway.state) if pair.model == self.model]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    places = {name: Place(name) for name in ("requests", "answers", "streamed", "streaming", "excess")}
    models = {name: place.settings() for name, place in places.items()}
    keys = {"shadow": {"body": CAP}, "http": {"buffer": BUFFER}, "guards": {"sizes": {"body": "8MiB"}}}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), config(models, **keys)) as running:
        for place in places.values():
            place.gateway = running
        yield places
    for place in places.values():
        place.champion.close()
        place.challenger.close()


@pytest.fixture
def place(gateway: dict[str, Place], request: pytest.FixtureRequest) -> Place:
    """The model of that name."""
    found: Place = gateway[request.param]
    return found


def text(size: int) -> bytes:
    """A JSON text of exactly that size."""
    return b'"' + b"x" * (size - 2) + b'"'


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


@pytest.mark.parametrize("place", ["requests"], indirect=True)
def test_a_request_over_the_cap_is_served_and_not_mirrored(place: Place) -> None:
    place.behave(answers(b'{"y":1}'), answers(b'{"y":1}'))
    sizes = (10, BUFFER, BUFFER + 1, CAP, CAP + 1, 5_000_000)

    found = place.ask(*map(text, sizes))

    account = place.at_rest(len(sizes))
    assert [answer.body for answer in found] == [b'{"y":1}'] * len(sizes)
    assert [len(request.body) for request in place.champion.requests] == list(sizes)
    # Exactly the cap is mirrored.
    assert sorted(len(request.body) for request in place.challenger.requests) == list(sizes[:4])
    assert skipped(account) == {"too_large": 2}
    assert account.stored == 4


@pytest.mark.parametrize("place", ["answers"], indirect=True)
def test_an_answer_over_the_cap_is_served_and_not_mirrored(place: Place) -> None:
    for size in (CAP, CAP + 1):
        place.behave(answers(text(size)), answers(text(size)))
        (answer,) = place.ask(b"{}")
        assert len(answer.body) == size

    account = place.at_rest(2)
    assert place.challenger.count == 1
    assert skipped(account) == {"too_large": 1}
    assert account.stored == 1


@pytest.mark.parametrize("place", ["streamed"], indirect=True)
def test_a_streamed_answer_is_mirrored_after_its_end_up_to_the_cap(place: Place) -> None:
    for size in (CAP, CAP + 1, 4 * CAP):
        place.behave(streams(text(size)), answers(text(CAP)))
        (answer,) = place.ask(b"{}")
        assert answer.body == text(size)

    account = place.at_rest(3)
    (pair,) = place.pairs()
    assert skipped(account) == {"too_large": 2}
    assert (pair.outcome, pair.agree) == ("ok", True)
    assert pair.champion_answer == pair.challenger_answer == sha256(text(CAP)).hexdigest()


@pytest.mark.parametrize("place", ["streaming"], indirect=True)
def test_a_request_that_streams_is_mirrored_whole(place: Place) -> None:
    """Too large to be gathered before it is forwarded, and small enough to be mirrored."""
    place.behave(echoes(), echoes())

    place.ask(text(CAP - 1), text(BUFFER + 1))

    assert place.at_rest(2).stored == 2
    assert [pair.agree for pair in place.pairs()] == [True, True]
    sent = {request.body for request in place.champion.requests}
    assert {request.body for request in place.challenger.requests} == sent


@pytest.mark.parametrize("place", ["excess"], indirect=True)
def test_a_challenger_that_answers_more_than_is_read_is_an_error(place: Place) -> None:
    place.behave(answers(b"{}"), answers(text(2 * CAP + 1)))

    place.ask(b"{}")

    account = place.at_rest(1)
    (pair,) = eventually(place.pairs, "the failed call is recorded")
    assert (account.sent, account.error) == (1, 1)
    assert pair.detail == f"the answer is larger than {2 * CAP} bytes"
