"""Holds the coverage of the last test run to the project's thresholds.

Branch coverage, as `coverage report` counts it: lines and branches together. The data path and the
core are held higher than the rest, because an untested branch there is an untested answer.
"""

import sys
from io import StringIO

from coverage import Coverage
from coverage.exceptions import NoDataError

THRESHOLDS = {"gateway": 92.0, "gateway/core": 98.0, "gateway/edge": 98.0}


def percent(data: Coverage, folder: str) -> float:
    return data.report(include=[f"{folder}/*"], file=StringIO())


def main() -> int:
    data = Coverage()
    data.load()
    missed = False
    for folder, least in THRESHOLDS.items():
        try:
            reached = percent(data, folder)
        except NoDataError:
            print(f"coverage: {folder}/ has no measured line", file=sys.stderr)
            missed = True
            continue
        verdict = "holds" if reached >= least else "MISSES"
        print(f"coverage: {folder + '/':<14} {reached:6.2f} %  {verdict} {least:g} %")
        missed |= reached < least
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
