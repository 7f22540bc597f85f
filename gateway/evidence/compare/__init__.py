"""Does the challenger's answer agree with the champion's?

A `Rule` (what the routing file says under `compare:`) is compiled once into a `Comparator`, which
turns two decoded answers into an `Outcome`. Pure: no I/O, no clock, and no exception whatever a
backend sent. Bytes become comparable values in `answers` (`bodies` does both for a pair); those two
need numpy for binary tensors and are imported by name, so that reading a rule is light.
"""

from gateway.evidence.compare.comparator import MAX_STORED_PATHS, Comparator, compile_rule
from gateway.evidence.compare.outcome import Outcome
from gateway.evidence.compare.rule import InvalidRule, Rule

__all__ = ["MAX_STORED_PATHS", "Comparator", "InvalidRule", "Outcome", "Rule", "compile_rule"]
