"""The same bytes, cut in other places."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import hypothesis.strategies as st


def whole(data: bytes) -> list[bytes]:
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut at these places; empty pieces, which no socket delivers, are left out."""
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends)]
    return [piece for piece in pieces if piece]


def every_cut_in_two(data: bytes) -> list[list[bytes]]:
    return [cut_at(data, [place]) for place in range(1, len(data))]


def cuts() -> st.SearchStrategy[Sequence[int]]:
    """Places to cut at; see `cut_at`."""
    return st.lists(st.integers(0, 5000), max_size=12)
