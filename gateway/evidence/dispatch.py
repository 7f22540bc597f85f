"""Offers in, lanes out: which challengers see a mirrored request, and in whose queue it waits.

An offer names its route, and with it the snapshot it was made under; sampling, bounds and comparison follow that
snapshot, also while the configuration changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.core.offer import Offer
from gateway.core.offer import Route as RouteMessage
from gateway.core.snapshot import Challenger, Model, Snapshot
from gateway.evidence.compare import Comparator, Rule, compile_rule
from gateway.evidence.facts import read_facts
from gateway.evidence.lane import Budget, Job, Lane, Plan
from gateway.evidence.ledger import Account, Ledger
from gateway.evidence.sampling import sampled
from gateway.evidence.shadow_call import CallCancelled, ShadowCaller
from gateway.upstream.replicas import Registry

KEPT_SNAPSHOTS: Final = 64
KEPT_MODELS: Final = 20_000
"""Models in all former snapshots together; the last two snapshots are kept whatever they have."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a snapshot: models with challengers, because offers name no others."""

    id: str
    models: Mapping[str, Model]
    max_age_s: float

    def challenger(self, model: str, name: str) -> Challenger | None:
        """A challenger of one of its models."""
        found = self.models.get(model)
        return next((one for one in found.challengers if one.version.name == name), None) if found else None


class Dispatch:
    """All lanes of the process."""

    def __init__(self, ledger: Ledger, caller: ShadowCaller):
        self._ledger = ledger
        self._caller = caller
        self._budget = Budget(0)
        self._registry = Registry()
        self._snapshots: dict[str, _Known] = {}
        self._has_forgotten = False
        self._lanes: dict[tuple[str, str], Lane] = {}

    # -- snapshots -------------------------------------------------------------------------------------------------

    def remember(self, snapshot: Snapshot) -> None:
        """Know a snapshot, because offers name the one they were made under."""
        snapshots = self._snapshots
        snapshots.pop(snapshot.id, None)
        models = {name: model for name, model in snapshot.models.items() if model.challengers}
        snapshots[snapshot.id] = _Known(snapshot.id, models, snapshot.config.shadow.max_age)
        kept = sum(len(known.models) for known in snapshots.values())
        while len(snapshots) > KEPT_SNAPSHOTS or (kept > KEPT_MODELS and len(snapshots) > 2):
            oldest = snapshots.pop(next(iter(snapshots)))
            kept -= len(oldest.models)
            self._has_forgotten = True

    def use(self, snapshot: Snapshot) -> None:
        """Make a snapshot the present one."""
        self.remember(snapshot)
        self._budget.limit = snapshot.config.shadow.queue_bytes
        known = self._snapshots[snapshot.id].models.values()
        self._ledger.open(
            ((model.name, one.version.name) for model in known for one in model.challengers), snapshot.config.workers
        )

    def expire_idle(self, now: float) -> None:
        """Close connections that have been idle for long, and let go of what no snapshot names any more."""
        if self._has_forgotten:
            self._has_forgotten = False
            self._tidy()
        for pool in self._registry.pools():
            pool.expire_idle(now)

    def _tidy(self) -> None:
        named = {
            key: [found for known in self._snapshots.values() if (found := known.challenger(*key))]
            for key in self._lanes
        }
        for key, challengers in named.items():
            if not challengers and self._lanes[key].idle:
                del self._lanes[key]
        self._registry.keep_only({self._registry.of(one.version) for found in named.values() for one in found})

    def knows(self, snapshot_id: str) -> bool:
        """Whether offers made under this snapshot can be brought to their lanes."""
        return snapshot_id in self._snapshots

    # -- offers ----------------------------------------------------------------------------------------------------

    def plans(self, route: RouteMessage) -> list[Plan | Account]:
        """What to do with the offers of a route, per challenger.

        An account alone stands for a challenger of a snapshot that is not known here any more: its offers are lost.
        """
        snapshot = self._snapshots.get(route.snapshot_id)
        model = snapshot.models.get(route.model) if snapshot is not None else None
        comparator = _comparator(model) if model is not None else None
        plans: list[Plan | Account] = []
        for name in route.challengers:
            challenger = snapshot.challenger(route.model, name) if snapshot is not None else None
            if snapshot is None or model is None or challenger is None or comparator is None:
                plans.append(self._ledger.account(route.model, name))
            else:
                plans.append(self._plan(snapshot, model, challenger, comparator))
        return plans

    def take(self, offer: Offer, plans: list[Plan | Account]) -> None:
        """Bring one offer to each of its challengers' lanes."""
        facts = None
        for plan in plans:
            if isinstance(plan, Account):
                plan.add("skipped_shadow_lost")
                lane = self._lanes.get((plan.model, plan.challenger))
                if lane is not None:
                    lane.sequences.lose_any()
                continue
            if facts is None:
                facts = read_facts(offer, plan.model)
            share = plan.challenger.share
            key = facts.sequence or offer.request_id
            if sampled(plan.model.name, plan.challenger.version.name, key, share):
                plan.lane.enter(Job(offer, plan, facts))
            else:
                plan.lane.account.add("sampled_out")

    def lose(self, plans: list[Plan | Account], sequences: tuple[str, ...] | None) -> None:
        """Requests of these sequences (None: of some) were lost on their way: nobody follows them any more."""
        for plan in plans:
            if isinstance(plan, Account):
                continue
            if sequences is None:
                plan.lane.sequences.lose_any()
            for sequence in sequences or ():
                plan.lane.sequences.lose(sequence)

    def lose_any(self) -> None:
        """A worker connects: what it or its predecessor lost may have been of any sequence."""
        for lane in self._lanes.values():
            lane.sequences.lose_any()

    @property
    def idle(self) -> bool:
        """Whether no lane holds anything."""
        return all(lane.idle for lane in self._lanes.values())

    def stop(self) -> None:
        """Skip what waits and give up what is in flight."""
        for lane in self._lanes.values():
            lane.empty("shutdown")
            for job in list(lane.running):
                if job.flow is not None:
                    job.flow.throw(CallCancelled())

    def _plan(self, snapshot: _Known, model: Model, challenger: Challenger, comparator: Comparator) -> Plan:
        key = (model.name, challenger.version.name)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self._ledger.account(*key), self._caller.launch, self._budget)
        return Plan(
            snapshot_id=snapshot.id,
            model=model,
            challenger=challenger,
            comparator=comparator,
            replicas=self._registry.of(challenger.version),
            lane=lane,
            max_age_s=snapshot.max_age_s,
        )


def _comparator(model: Model) -> Comparator:
    compare = model.compare
    return compile_rule(
        Rule(
            kind=compare.kind,
            output=compare.output,
            absolute=compare.tolerance.absolute,
            relative=compare.tolerance.relative,
            ignore=tuple(compare.ignore),
            ordered=compare.order == "strict",
        )
    )
