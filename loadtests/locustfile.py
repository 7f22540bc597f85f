"""`make loadtest`: clients of many tenants against a gateway of its own, and every count reconciled at the end.

Run by Locust. Exit status 1 when an answer was not the expected one, or when the gateway's counts are not the
clients'. A request that has begun is finished before the test ends, so that both sides count the same ones.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

from locust import FastHttpUser, between, events, task
from locust.env import Environment

from loadtests.gateway_under_test import GatewayUnderTest
from loadtests.reconcile import Tally, differences
from loadtests.traffic import Mix

FINISH_WITHIN_S = 20
SEED = 7
_seeds = itertools.count(SEED)


class Test:
    """What one run holds: the gateway, its counts at the start, and the clients' counts."""

    def __init__(self) -> None:
        self.gateway = GatewayUnderTest()
        self.before = self.gateway.tally()
        self.sent = Tally()

    def finish(self) -> list[str]:
        """Every count that differs; the gateway is ended."""
        try:
            faults = self.gateway.faults_at_rest(self.sent)
            faults += differences(self.sent, self.before, self.gateway.tally())
            return [*faults, f"the end of the gateway's log:\n{self.gateway.said()}"] if faults else []
        finally:
            self.gateway.stop()


class Client(FastHttpUser):
    """One client: a request of the mix, a short pause, the next."""

    wait_time = between(0.005, 0.05)
    network_timeout = 30.0
    connection_timeout = 10.0
    test: Test

    def on_start(self) -> None:
        self._mix = Mix(next(_seeds))

    @task
    def one(self) -> None:
        """Send one request and hold the answer to what was expected."""
        request = self._mix.draw()
        with self.client.request(
            request.method, request.path, name=request.kind, data=request.body.decode() or None,
            headers=request.headers, catch_response=True,
        ) as answer:  # fmt: skip
            if answer.status_code:
                self.test.sent.add(request, answer.status_code)
            if answer.status_code != request.status:
                answer.failure(f"{answer.status_code} instead of {request.status}: {(answer.text or '')[:200]}")
            elif request.code and answer.json()["code"] != request.code:
                answer.failure(f"code {answer.json()['code']} instead of {request.code}")
            else:
                answer.success()


@events.init.add_listener  # type: ignore[untyped-decorator]
def start(environment: Environment, **_: Any) -> None:
    """Start the gateway before the first client."""
    environment.stop_timeout = FINISH_WITHIN_S
    Client.test = Test()
    Client.host = f"http://127.0.0.1:{Client.test.gateway.port}"


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def reconcile(environment: Environment, **_: Any) -> None:
    """Hold the gateway's counts to the clients'."""
    began = time.monotonic()
    faults = Client.test.finish()
    total = environment.stats.total
    if total.num_failures:
        faults.append(f"{total.num_failures} of {total.num_requests} answers were not the expected ones")
    for fault in faults:
        print(f"loadtest: {fault}")
    took = time.monotonic() - began
    if not faults:
        print(f"loadtest: every count reconciles, over {total.num_requests} requests ({took:.1f} s)")
    environment.process_exit_code = int(bool(faults) or not total.num_requests)
