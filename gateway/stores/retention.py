"""Which pair files go: those too old, then the oldest of those that are too many. Pure, but for `with_sizes`."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.stores.pair_files import PairFile, day_end_s


@dataclass(frozen=True, slots=True)
class SizedFile:
    """A pair file with what the file system says of it."""

    file: PairFile
    size_bytes: int
    written_s: float

    @property
    def newest_pair_s(self) -> float:
        """No pair in it is younger: none is of a later day, nor of later than its writing."""
        return min(self.written_s, day_end_s(self.file.day))


@dataclass(frozen=True, slots=True)
class Expired:
    """Files to delete, by reason."""

    by_age: list[SizedFile]
    by_bytes: list[SizedFile]


def with_sizes(files: list[PairFile]) -> list[SizedFile]:
    """The files that are still there, with their sizes."""
    sized = []
    for one in files:
        try:
            status = one.path.stat()
        except FileNotFoundError:
            continue
        sized.append(SizedFile(one, status.st_size, status.st_mtime))
    return sized


def expired(files: list[SizedFile], oldest_s: float, keep_bytes: int) -> Expired:
    """What to delete so that no pair is from before `oldest_s` and the rest fits into `keep_bytes`.

    The file with the newest segment stays in any case: the last pairs are evidence that there were some.
    """
    newest = max(files, key=lambda one: (one.file.last, one.file), default=None)
    others = sorted((one for one in files if one is not newest), key=lambda one: one.file)
    by_age = [one for one in others if one.newest_pair_s < oldest_s]
    left = [one for one in others if one.newest_pair_s >= oldest_s]
    too_many = sum(one.size_bytes for one in left) - keep_bytes
    too_many += newest.size_bytes if newest else 0
    by_bytes = []
    for one in left:
        if too_many <= 0:
            break
        by_bytes.append(one)
        too_many -= one.size_bytes
    return Expired(by_age, by_bytes)
