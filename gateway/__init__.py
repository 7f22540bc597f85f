"""Tiltyard: a model-serving gateway in which challengers meet the champion on live traffic.

The package is laid out in planes; `docs/architecture.md` has the picture. This module holds the version
and nothing else, so that importing `gateway` never starts, loads or opens anything.
"""

__version__ = "0.1.0"
