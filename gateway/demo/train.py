"""Makes the demo's models and flights from the data package: python -m gateway.demo.train

Writes `delay-1.onnx`, `delay-2.onnx`, `delay-3.onnx`, `flights.csv.gz` and the figures in `DATA.md`, and prints the
figures. The seed is fixed: with the locked versions of the libraries the same machine writes the same bytes; `--check`
trains anew, writes nothing, and says which committed file is no longer what training makes.
Development only: `make setup` installs what it needs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Final

from gateway.demo import dataset, figures, models
from gateway.demo.flights import DATA, FLIGHTS_FILE

DOCUMENT: Final = "DATA.md"
# ONNX answers in single precision; more than this apart, and it is another model than the trained one.
ONNX_TOLERANCE: Final = 1e-6


def make(into: Path, document: str, trees: int = models.TREES) -> str:
    """Train, write every file into `into`, and return the figures. `document` is the text they are put into."""
    frame = dataset.load_flights()
    dataset.write_sample(frame, into / FLIGHTS_FILE.name)
    flights = dataset.held_out(frame)
    answers: dict[str, figures.Answers] = {}
    for trained in models.train_all(dataset.training(frame), trees):
        path = into / f"delay-{trained.version}.onnx"
        path.write_bytes(models.to_model(trained).SerializeToString(deterministic=True))
        answers[trained.version] = figures.ask(path, flights)
        apart = (answers[trained.version].probability - trained.probabilities(flights)).abs().max()
        print(
            f"{path.name}: {path.stat().st_size:,} bytes, {trained.description}, "
            f"late from {trained.threshold:.4f}, at most {apart:.1e} from scikit-learn"
        )
        if apart > ONNX_TOLERANCE:
            raise SystemExit(f"{path.name} does not answer as the trained model does")
    replayed = dataset.sample(frame)
    tables = "\n\n".join(
        [
            figures.report("All held-out flights, April to December", flights, answers),
            figures.report("The sample the demo replays: every third week", replayed, answers),
        ]
    )
    (into / DOCUMENT).write_text(figures.replace_figures(document, tables), encoding="utf-8")
    return tables


def check(trees: int = models.TREES) -> list[str]:
    """Names of the committed files that differ from what training makes now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        print(make(fresh, (DATA / DOCUMENT).read_text(encoding="utf-8"), trees))
        return [path.name for path in sorted(fresh.iterdir()) if path.read_bytes() != (DATA / path.name).read_bytes()]


def main() -> int:
    """Train and write, or check what is committed."""
    parser = argparse.ArgumentParser(description="Make the demo's models and flights.")
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    if parser.parse_args().check:
        changed = check()
        print("differs: " + ", ".join(changed) if changed else "the committed files are the trained ones")
        return 1 if changed else 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        print(make(fresh, (DATA / DOCUMENT).read_text(encoding="utf-8")))
        # Only when all of it went well: no half of a new set beside half of an old one.
        for path in fresh.iterdir():
            shutil.copyfile(path, DATA / path.name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
