import asyncio
import json

import msgspec
import pytest

from gateway.demo import standing as standings
from gateway.demo.caller import Caller
from gateway.demo.standing import Standing
from gateway.evidence.report_document import Report
from tests.support.backends import Backend, computes, hangs, in_turn, response, says_garbage
from tests.support.report_documents import challenger, report


def admin(document, outcome="unchanged", errors=()):
    """An admin listener with this report and this outcome of the last reload."""
    ready = {"status": "ready", "reload": {"outcome": outcome, "config_id": "x", "errors": list(errors), "took_ms": 1}}
    return computes(lambda request: ready if request.path == "/readyz" else document)


def looked_at(backend, *behaviours, patience_s=20.0):
    """A standing that has looked once at each behaviour in turn."""

    async def look():
        caller = Caller(f"127.0.0.1:{backend.port}", 1, patience_s)
        standing = Standing(caller)
        for behaviour in behaviours:
            backend.behave(behaviour)
            await standing.look()
        caller.close()
        return standing

    return asyncio.run(look())


def test_the_scripted_report_is_one():
    assert msgspec.json.decode(json.dumps(report(a=challenger())), type=Report).challengers["a"].stored == 10


def test_challengers_are_those_of_the_configuration_in_force():
    with Backend() as backend:
        standing = looked_at(backend, admin(report(a=challenger(), b=challenger(active=False))))

    assert [name for name, _ in standing.challengers()] == ["a"]
    assert standing.trouble == ""
    assert standing.reload.outcome == "unchanged"


def test_before_anything_was_answered_there_are_none():
    assert list(Standing(Caller("127.0.0.1:1", 1, 1.0)).challengers()) == []


def test_what_became_of_an_edit_is_known():
    with Backend() as backend:
        standing = looked_at(backend, admin(report(), "refused", ["demo.yaml:1:1: no"]))

    assert standing.reload.errors == ("demo.yaml:1:1: no",)


async def unavailable(request, connection):
    body = b'{"code": "unavailable", "detail": "cannot read pairs"}'
    await connection.send(response(body, 503, [("content-type", "application/problem+json")]))


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (unavailable, "/readyz: status 503 unavailable"),
        (says_garbage(), "/readyz: the backend's answer is not valid HTTP/1.1"),
        (hangs(), "/readyz: no answer within"),
    ],
)
def test_where_there_is_no_answer_the_last_one_stands_and_the_trouble_is_named(behaviour, words):
    with Backend() as backend:
        standing = looked_at(backend, admin(report(a=challenger())), behaviour, patience_s=1.0)

    assert standing.report is not None
    assert standing.report.champion == "1"
    assert standing.trouble.startswith(words)


def test_trouble_that_is_over_is_forgotten():
    with Backend() as backend:
        standing = looked_at(backend, unavailable, admin(report()))

    assert standing.trouble == ""
    assert standing.report is not None


def rests(backend):
    async def look():
        caller = Caller(f"127.0.0.1:{backend.port}", 1, 20.0)
        at_rest = await Standing(caller).look_at_rest()
        caller.close()
        return at_rest

    return asyncio.run(look())


def test_rest_is_waited_for_until_every_request_is_accounted_for():
    moving, still = report(a=challenger(balanced=False, in_flight=1)), report(a=challenger())
    with Backend(in_turn(*[admin(moving)] * 4, admin(still))) as backend:
        assert rests(backend) is True
        assert backend.count >= 5


def test_rest_that_does_not_come_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(standings, "REST_WITHIN_S", 0.2)
    with Backend(admin(report(a=challenger(balanced=False)))) as backend:
        assert rests(backend) is False
