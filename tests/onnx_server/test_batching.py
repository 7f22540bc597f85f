"""Who shares a run: the queue's decisions as conversations, and that sharing changes no answer."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.onnx_server.batching import (
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Job,
    Queue,
)


def a_job(kind: str | None = "a", rows: int = 1, size_bytes: int = 0) -> Job:
    signature = None if kind is None else (kind,)
    job = Job([], ("y",), size_bytes, lambda: None, rows=rows)
    job.signature = signature
    return job


def taken(queue: Queue, now: float) -> list[Job]:
    group = queue.take(now)
    return [] if group is None else group.jobs


def test_what_waits_together_runs_together() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    jobs = [a_job() for _ in range(3)]
    for job in jobs:
        queue.add(job, now=0)
    assert taken(queue, now=0) == jobs
    assert taken(queue, now=0) == []


def test_a_group_is_full_at_its_rows_not_its_requests() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    first, second, third, fourth = (a_job(rows=rows) for rows in (2, 1, 2, 4))
    for job in (first, second, third, fourth):
        queue.add(job, now=0)
    assert [taken(queue, now=0) for _ in range(4)] == [[first, second], [fourth], [third], []]


def test_a_request_larger_than_a_group_runs_alone() -> None:
    queue = Queue(most_rows=4, wait_s=1)
    large = a_job(rows=100)
    queue.add(large, now=0)
    assert taken(queue, now=0) == [large]


def test_unlike_requests_do_not_mix_and_the_first_to_come_is_the_first_to_run() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    jobs = {name: a_job(name[0]) for name in ("a1", "b1", "a2", "b2")}
    for at, job in enumerate(jobs.values()):
        queue.add(job, now=at)
    assert taken(queue, now=9) == [jobs["a1"], jobs["a2"]]
    assert taken(queue, now=9) == [jobs["b1"], jobs["b2"]]


def test_a_request_that_cannot_be_batched_runs_alone_in_its_turn() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    before, alone, after = a_job(), a_job(None), a_job("b")
    for at, job in enumerate((before, alone, after)):
        queue.add(job, now=at)
    assert [taken(queue, now=9) for _ in range(3)] == [[before], [alone], [after]]


def test_a_group_waits_for_company_since_its_first_request_and_no_longer() -> None:
    queue = Queue(most_rows=4, wait_s=0.5)
    first, second = a_job(), a_job()
    queue.add(first, now=10.0)
    assert (taken(queue, now=10.4), queue.due()) == ([], 10.5)
    queue.add(second, now=10.4)
    assert (taken(queue, now=10.49), queue.due()) == ([], 10.5)
    assert taken(queue, now=10.5) == [first, second]
    assert queue.due() is None


def test_a_full_group_does_not_wait() -> None:
    queue = Queue(most_rows=2, wait_s=60)
    pair = [a_job(), a_job()]
    for job in pair:
        queue.add(job, now=0)
    assert queue.due() == 0
    assert taken(queue, now=0) == pair


def test_a_group_that_waited_long_enough_goes_before_a_full_one_that_came_later() -> None:
    queue = Queue(most_rows=2, wait_s=1)
    early = a_job("early")
    queue.add(early, now=0)
    full = [a_job("full"), a_job("full")]
    for job in full:
        queue.add(job, now=0.5)
    assert [taken(queue, now=1.0) for _ in range(2)] == [[early], full]


def test_an_abandoned_request_is_not_run() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    stays, leaves = a_job(), a_job()
    for job in (stays, leaves):
        queue.add(job, now=0)
    leaves.abandoned = True
    assert taken(queue, now=0) == [stays]
    assert len(queue) == 0


def test_the_queue_is_bounded_in_requests_and_in_bytes() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    for _ in range(MAX_WAITING):
        assert queue.has_room(1)
        queue.add(a_job(size_bytes=1), now=0)
    assert not queue.has_room(1)

    queue = Queue(most_rows=4, wait_s=0)
    assert queue.has_room(MAX_WAITING_BYTES + 1), "a request alone may be of any size"
    queue.add(a_job(size_bytes=MAX_WAITING_BYTES), now=0)
    assert not queue.has_room(1)
    queue.take(0)
    assert queue.has_room(1)


def test_when_batching_stops_those_who_wait_run_alone() -> None:
    queue = Queue(most_rows=3, wait_s=60)
    jobs = [a_job() for _ in range(4)]
    for job in jobs:
        queue.add(job, now=0)
    queue.stop_batching()
    late = a_job()
    queue.add(late, now=0)
    assert [taken(queue, now=0) for _ in range(6)] == [[job] for job in (*jobs, late)] + [[]]


arrivals = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["a", "b", None]), st.integers(1, 5), st.booleans()),
    max_size=40,
)


@given(arrivals, st.integers(1, 8), st.sampled_from([0.0, 0.5]))
def test_every_request_runs_once_in_a_group_of_its_like_within_the_bounds(
    arrivals: list[tuple[float, str | None, int, bool]], most_rows: int, wait_s: float
) -> None:
    queue = Queue(most_rows, wait_s)
    now = 0.0
    added: list[Job] = []
    ran: list[Job] = []

    def take(now: float) -> bool:
        group = queue.take(now)
        if group is None:
            return False
        assert len({job.signature for job in group.jobs}) == 1
        assert len(group.jobs) == 1 or sum(job.rows for job in group.jobs) <= most_rows
        assert len(group.jobs) == 1 or group.jobs[0].signature is not None
        ran.extend(group.jobs)
        return True

    for pause, kind, rows, takes in arrivals:
        now += pause
        added.append(a_job(kind, rows))
        queue.add(added[-1], now)
        if takes:
            take(now)
    while (due := queue.due()) is not None:
        now = max(now, due)
        assert take(now)
    assert sorted(map(id, ran)) == sorted(map(id, added))
    assert len(queue) == 0
