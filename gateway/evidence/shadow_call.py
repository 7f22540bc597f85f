"""One challenger call: the mirrored request out, the answer back, compared with the champion's, and a pair written.

The request goes without credentials and is marked as shadow. Nothing here can reach the client: the champion's answer
was sent before the offer was made.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Callable

from gateway.core.counters import Counters
from gateway.core.flow import Flow
from gateway.core.metrics import CHALLENGER_DURATION, DURATION_BOUNDS_S
from gateway.core.offer import Offer
from gateway.core.open_inference import HEAD_LENGTH_FIELD
from gateway.core.pair import Outcome, Pair
from gateway.evidence.compare.answers import Body
from gateway.evidence.compare.bodies import Uncompared, compare_bodies
from gateway.evidence.content import ContentError, decoded
from gateway.evidence.lane import Job, Plan
from gateway.evidence.pairs import PairWriter, kept
from gateway.http1.client import Answer
from gateway.http1.deadlines import NEVER, Deadlines
from gateway.http1.errors import DeadlineExceeded, UpstreamFault
from gateway.upstream.call import call_whole, give_back

CREDENTIALS = (
    b"authorization",
    b"cookie",
    b"proxy-authorization",
    b"x-api-key",
    b"api-key",
    b"x-auth-token",
    b"x-amz-security-token",
    b"x-goog-api-key",
)
"""Request fields that challengers never get: they are not whom the client trusted with them."""
_SECRET = re.compile(rb"^(?:%b):[^\r]*\r\n" % b"|".join(CREDENTIALS), re.MULTILINE)
_SECRET_NAMES = tuple(b"%b:" % name for name in CREDENTIALS)
_MARK = b"x-shadow: 1\r\n"
_SUM_US = CHALLENGER_DURATION.at("sum_us")

CrashReport = Callable[[str, Exception], None]


class CallCancelled(Exception):
    """The process stops and this call is given up."""


# Written out, as dataclasses make their `__init__` of text that is not compiled: both are made for every pair.
class Reply:
    """What came of a call. `content` is decoded of its content coding; empty where no whole answer came."""

    __slots__ = ("content", "detail", "head_length", "outcome", "status")

    def __init__(
        self, outcome: Outcome, detail: str = "", status: int = 0, content: bytes = b"", head_length: str = ""
    ):
        self.outcome = outcome
        self.detail = detail
        self.status = status
        self.content = content
        self.head_length = head_length


class Verdict:
    """A reply held against the champion's answer."""

    __slots__ = ("agree", "detail", "difference", "outcome", "paths")

    def __init__(
        self,
        outcome: Outcome,
        detail: str,
        agree: bool | None = None,
        difference: float | None = None,
        paths: tuple[str, ...] = (),
    ):
        self.outcome = outcome
        self.detail = detail
        self.agree = agree
        self.difference = difference
        self.paths = paths


class ShadowCaller:
    """Makes the calls of all lanes."""

    def __init__(self, counters: Counters, pairs: PairWriter, deadlines: Deadlines, report: CrashReport):
        self._cells = counters.cells
        self._pairs = pairs
        self._deadlines = deadlines
        self._report = report

    def launch(self, job: Job) -> None:
        """Start the call of a job; its lane hears of its end."""

        def done(error: Exception | None) -> None:
            if error is not None:
                self._crashed(job, error)
            self._deadlines.unwatch(job)
            # A job may hold megabytes; in a cycle with its flow it would wait for the garbage collector.
            job.flow = None
            job.plan.lane.ended(job)

        job.started = time.monotonic()
        job.deadline = job.started + job.plan.challenger.settings.timeout
        job.plan.lane.account.add("sent")
        flow = job.flow = Flow(self._run(job), done)
        self._deadlines.watch(job)
        flow.wake()

    async def _run(self, job: Job) -> None:
        """Call, then count and write what came of it."""
        settings = job.plan.challenger.settings
        try:
            reply = await self._call(job)
        except DeadlineExceeded:
            reply = Reply("timeout", f"no whole answer within {settings.timeout:g} s")
        except CallCancelled:
            reply = Reply("cancelled", "the gateway stopped")
        except UpstreamFault as fault:
            reply = Reply("error", str(fault))
            # The answer holds its fault, and the trace the answer: a cycle too.
            fault.__traceback__ = None
        finally:
            give_back(job)
        now = time.monotonic()
        job.deadline = NEVER
        self._tell_breaker(job, reply.outcome, now)
        self._record(job, reply, now - job.started)

    def _tell_breaker(self, job: Job, outcome: Outcome, now: float) -> None:
        breaker, rules = job.plan.lane.breaker, job.plan.challenger.settings.breaker
        if outcome == "ok":
            breaker.succeeded()
        elif outcome == "cancelled":
            breaker.undecided()
        else:
            breaker.failed(now, rules.failures, rules.open)

    def _crashed(self, job: Job, error: Exception) -> None:
        """A defect of ours, somewhere in the call: the books must hold all the same."""
        account = job.plan.lane.account
        if not job.outcome:
            account.add("error")
            self._tell_breaker(job, "error", time.monotonic())
        elif job.outcome == "ok":
            account.add("unstored_storage")
        self._report(job.offer.request_id, error)

    async def _call(self, job: Job) -> Reply:
        flow = job.flow
        assert flow is not None
        pool = job.plan.replicas.choose(job.facts.sequence)
        request = shadow_request(job.offer, pool.target.base_path, pool.target.authority)
        answer = await call_whole(job, pool, flow, request)
        limit = job.plan.challenger.settings.answer
        whole = answer.take() if answer.complete and answer.received <= limit else await answer.read_all(limit)
        good = 200 <= answer.status < 300
        try:
            content = decoded(whole, _text(answer, b"content-encoding"), limit)
        except ContentError as error:
            return Reply("error", str(error) if good else f"status {answer.status}", answer.status)
        if good:
            return Reply("ok", "", answer.status, content, _text(answer, HEAD_LENGTH_FIELD))
        return Reply("error", f"status {answer.status}", answer.status, content)

    def _record(self, job: Job, reply: Reply, took_s: float) -> None:
        """Compare, count, and hand the record to the journal."""
        offer, plan = job.offer, job.plan
        account = plan.lane.account
        champion = champion_content(offer, plan.challenger.settings.answer)
        verdict = judge(plan, offer, champion, reply)
        job.outcome = verdict.outcome
        account.add(verdict.outcome)
        cells, at = self._cells, account.durations_at
        cells[at + bisect_left(DURATION_BOUNDS_S, took_s)] += 1
        cells[at + _SUM_US] += int(took_s * 1e6)
        payload = plan.model.payload
        request, request_form = kept(offer.body, payload)
        answered = offer.answer if isinstance(champion, str) else champion
        champion_answer, champion_form = kept(answered, payload)
        if reply.content == answered:
            challenger_answer, challenger_form = champion_answer, champion_form
        else:
            challenger_answer, challenger_form = kept(reply.content, payload)
        pair = Pair(
            sequence=self._pairs.next_sequence(),
            request_id=offer.request_id,
            at_us=offer.started_us,
            model=plan.model.name,
            champion=plan.model.champion.name,
            challenger=plan.challenger.version.name,
            config_id=plan.snapshot_id,
            tenant=offer.tenant,
            client=offer.client,
            path=offer.path,
            slices=job.facts.slices,
            probability=plan.challenger.share,
            outcome=verdict.outcome,
            detail=verdict.detail,
            agree=verdict.agree,
            difference=verdict.difference,
            paths=verdict.paths,
            champion_status=offer.status,
            champion_us=offer.champion_us,
            challenger_status=reply.status,
            challenger_us=int(took_s * 1e6),
            request=request,
            request_form=request_form,
            champion_answer=champion_answer,
            champion_form=champion_form,
            challenger_answer=challenger_answer,
            challenger_form=challenger_form,
        )
        self._pairs.write(pair, account)


def shadow_request(offer: Offer, base_path: bytes, authority: bytes) -> bytes:
    """The mirrored request as it goes to a challenger."""
    section = without_credentials(offer.fields)
    return b"%b %b%b HTTP/1.1\r\nhost: %b\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
        offer.method.encode(),
        base_path,
        offer.path.encode(),
        authority,
        section,
        _MARK,
        len(offer.body),
        offer.body,
    )


def without_credentials(section: bytes) -> bytes:
    """A forwarded header section (lower-case names) without the fields that carry secrets."""
    # Most sections have none, and eight searches for a name are quicker than one for a pattern.
    for name in _SECRET_NAMES:
        if name in section:
            return _SECRET.sub(b"", section)
    return section


def champion_content(offer: Offer, limit: int) -> bytes | str:
    """The champion's answer without its content coding; a text says why it cannot be had.

    A coded answer is decoded up to what is read of a challenger's: one larger than that has no equal anyway.
    """
    try:
        return decoded(offer.answer, offer.content_encoding, limit)
    except ContentError as error:
        return str(error)


def judge(plan: Plan, offer: Offer, champion: bytes | str, reply: Reply) -> Verdict:
    """Hold a reply against the champion's answer. An answer that cannot be read counts as the challenger's error."""
    if reply.outcome != "ok":
        return Verdict(reply.outcome, reply.detail)
    if isinstance(champion, str):
        return Verdict("ok", f"the champion's answer cannot be compared: {champion}")
    compared = compare_bodies(
        plan.comparator,
        Body(champion, offer.content_type, offer.head_length),
        Body(reply.content, "", reply.head_length),
    )
    if not isinstance(compared, Uncompared):
        return Verdict("ok", "", compared.agree, compared.difference, compared.paths)
    if compared.role == "champion":
        return Verdict("ok", f"the champion's answer cannot be compared: {compared.cause.detail}")
    return Verdict("error", f"the answer cannot be compared: {compared.cause.detail}")


def _text(answer: Answer, name: bytes) -> str:
    return (answer.field(name) or b"").decode("latin-1")
