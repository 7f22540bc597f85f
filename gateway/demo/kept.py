"""The gateway of a demo as a process of its own that ends with the demo, however that ends: python -m gateway.demo.kept

Standard input is a pipe that only the demo holds. Its end means that the demo is gone, and is the same as SIGTERM.
Not for people.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from gateway.core.logs import log
from gateway.runtime.launch import launch


def main() -> None:
    """Run the gateway on the configuration that the command line names."""
    threading.Thread(target=_end_with_the_demo, daemon=True).start()
    sys.exit(launch(Path(sys.argv[1])))


def _end_with_the_demo() -> None:
    while os.read(0, 1024):
        pass
    log("demo-gone", "warning")
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
