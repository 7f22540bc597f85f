"""What a running gateway has counted and kept, read from its state directory as operators' tools do."""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gateway.core.journal import read
from gateway.core.pair import Pair
from gateway.evidence.accounting import Accounting
from gateway.stores.parquet import ParquetPairs
from tests.support.gateway_process import GatewayProcess
from tests.support.polling import eventually
from tests.support.shadowing import accounting

REST_PATIENCE_S = 40.0


def account_of(gateway: GatewayProcess, challenger: str = "2", model: str = "m") -> Accounting:
    """The account of a challenger now."""
    return accounting(gateway.state / "counters", challenger, model)


def at_rest(
    gateway: GatewayProcess, challenger: str = "2", eligible: int | None = None, model: str = "m"
) -> Accounting:
    """Its account once it balances (and counts so many eligible requests); AssertionError when it never does."""

    def settled() -> Accounting | None:
        found = account_of(gateway, challenger, model)
        return found if found.balanced and eligible in (None, found.eligible) else None

    try:
        found = eventually(settled, f"the account of {challenger} balances", REST_PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{account_of(gateway, challenger, model)}\n{gateway.log()[-4000:]}") from None
    assert found is not None
    identity(found)
    return found


def identity(found: Accounting) -> None:
    """The three equations, written out."""
    assert found.eligible == found.sampled_out + sum(found.skipped.values()) + found.sent
    assert found.sent == found.ok + found.error + found.timeout + found.cancelled
    assert found.ok == found.stored + sum(found.unstored.values())
    assert min(*found.skipped.values(), *found.unstored.values(), found.stored) >= 0


def skipped(found: Accounting) -> dict[str, int]:
    """Reasons for which something was skipped, without the zeros."""
    return {reason: count for reason, count in found.skipped.items() if count}


def journalled(state: Path) -> list[Pair]:
    """Every pair in the journal, oldest first. For gateways that do not roll within the test."""
    paths: Iterable[Path] = sorted((state / "journal").glob("pairs-*"))
    return [msgspec.json.decode(line, type=Pair) for path in paths for line in read(path)]


def kept(state: Path, challenger: str = "2", model: str = "m", champion: str = "1") -> int:
    """How many pairs of a challenger are kept, in the journal and in what it is rolled to."""
    store = ParquetPairs(state)
    try:
        return store.summary(model, challenger, champion).pairs
    finally:
        store.close()


def memory_kib(pid: int, what: str = "VmRSS") -> int:
    """Resident memory of a process; `VmHWM` for the most it ever had."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
