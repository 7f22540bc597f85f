"""How good the ONNX files are on flights no version has seen: the tables of `data/DATA.md`.

Measured on the files themselves, through the runtime that serves them, never on the pipelines they were made from.
Development only: needs pandas, scikit-learn and onnxruntime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnxruntime
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

from gateway.demo.flights import NUMBER_INPUTS, STRING_INPUTS

CHAMPION: Final = "1"
BEGIN: Final = "<!-- figures: written by gateway.demo.train -->"
END: Final = "<!-- end of figures -->"


@dataclass(frozen=True, slots=True)
class Answers:
    """What one version answers to the flights of a frame, by the frame's index."""

    label: pd.Series
    probability: pd.Series


def ask(model: Path, flights: pd.DataFrame) -> Answers:
    """Answer all flights in one run of the model, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    inputs = {name: flights[[name]].to_numpy("float32") for name in NUMBER_INPUTS}
    inputs |= {name: flights[[name]].to_numpy("object") for name in STRING_INPUTS}
    label, probability = session.run(["label", "probability"], inputs)
    return Answers(pd.Series(label, flights.index), pd.Series(probability, flights.index))


def report(title: str, flights: pd.DataFrame, answers: Mapping[str, Answers]) -> str:
    """The tables of one set of flights: all together by version, then by carrier."""
    labelled = flights[flights["late"].notna()]
    late, carrier = labelled["late"].astype("int64"), labelled["carrier"]
    sizes = late.groupby(carrier).size().sort_values(ascending=False, kind="stable")
    summary = (
        f"{len(flights):,} flights; {len(flights) - len(labelled):,} of them never arrived and have no label; "
        f"{late.mean():.1%} of the others came late."
    )
    lines = [
        f"### {title}",
        "",
        summary,
        "",
        "| version | AUC | log loss | labels right | flagged late | labels as the champion's |",
        "|---|---|---|---|---|---|",
        *(_version_row(version, late, answers) for version in answers),
        "",
        _row(["carrier", "flights", "late", *_headings(answers)]),
        "|---" * (3 + 2 * len(answers)) + "|",
        *(_carrier_row(name, late[carrier == name], answers) for name in sizes.index),
    ]
    return "\n".join(lines)


def replace_figures(document: str, tables: str) -> str:
    """`document` with `tables` between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"the document lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def _headings(answers: Mapping[str, Answers]) -> list[str]:
    return [f"AUC {version}" for version in answers] + [f"right {version}" for version in answers]


def _version_row(version: str, late: pd.Series, answers: Mapping[str, Answers]) -> str:
    answer = answers[version]
    label, probability = answer.label[late.index], answer.probability[late.index]
    same = (label == answers[CHAMPION].label[late.index]).mean()
    return _row(
        [
            version,
            f"{roc_auc_score(late, probability):.4f}",
            f"{log_loss(late, probability):.4f}",
            f"{(label == late).mean():.4f}",
            f"{label.mean():.4f}",
            f"{same:.4f}",
        ]
    )


def _carrier_row(carrier: str, late: pd.Series, answers: Mapping[str, Answers]) -> str:
    cells = [carrier, f"{len(late):,}", f"{late.mean():.1%}"]
    for answer in answers.values():
        both = late.nunique() == 2
        auc = roc_auc_score(late, answer.probability[late.index]) if both else None
        cells.append("none late" if auc is None else f"{auc:.4f}")
    cells += [f"{(answer.label[late.index] == late).mean():.4f}" for answer in answers.values()]
    return _row(cells)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
