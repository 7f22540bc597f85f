"""From a configuration file to a running gateway: what must be had before the first process
starts.

Everything that can be wrong here is the operator's to mend, so it is said on standard error in
sentences and ends with exit status 1, before anybody was served.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import setproctitle

from gateway.core.config import Gateway, canonical
from gateway.core.configfile import load_config
from gateway.core.counters import Counters
from gateway.core.logs import capture_logging, log, name_process
from gateway.core.snapshot import compile_snapshot
from gateway.evidence.ledger import Ledger
from gateway.runtime.fleet import Site
from gateway.runtime.native import NativeBuildMissing, use_native_build
from gateway.runtime.places import (
    PlaceTaken,
    StateDirectory,
    listen_tcp,
    make_runtime_directory,
)
from gateway.runtime.process import CHILD_MODULE
from gateway.runtime.rollout import Configurations
from gateway.runtime.supervisor import Supervisor

EXIT_REFUSED: Final = 1


def launch(config_path: Path, workers: int | None = None, module: str = CHILD_MODULE) -> int:
    """Run a gateway until it is told to stop; the exit status. `workers` overrides the file's."""
    setproctitle.setproctitle("tiltyard: supervisor")
    name_process("supervisor")
    capture_logging()
    config_path = config_path.absolute()
    loaded = load_config(config_path, os.environ)
    if isinstance(loaded, list):
        for error in loaded:
            print(error, file=sys.stderr)
        return EXIT_REFUSED
    for warning in loaded.warnings:
        log("config-warning", "warning", message=str(warning))
    try:
        return _run(config_path, loaded.config, workers or loaded.config.workers, module)
    except (NativeBuildMissing, PlaceTaken) as refused:
        print(f"tiltyard: {refused}", file=sys.stderr)
        return EXIT_REFUSED


def _run(config_path: Path, config: Gateway, workers: int, module: str) -> int:
    with ExitStack() as stack:
        held = StateDirectory.hold(config.state)
        stack.callback(held.release)
        _settle_books(config.state / "counters")
        runtime_directory = make_runtime_directory()
        stack.callback(shutil.rmtree, runtime_directory, ignore_errors=True)
        site = Site(
            config_path=config_path,
            state=config.state,
            runtime_directory=runtime_directory,
            inference=stack.enter_context(listen_tcp(config.listen.inference, "listen.inference")),
            admin=stack.enter_context(listen_tcp(config.listen.admin, "listen.admin")),
            build=use_native_build(os.environ),
        )
        snapshot = compile_snapshot(config, runtime_directory)
        configurations = Configurations(snapshot, canonical(config))

        async def supervise() -> int:
            return await Supervisor(site, held, configurations, workers, module).run()

        return asyncio.run(supervise())


def _settle_books(directory: Path) -> None:
    """Before any process runs: count what died with workers of a gateway that was killed, also with those that will not
    come back because there are fewer now.
    """
    try:
        counters = Counters(directory, "shadow")
        lost = Ledger(counters).settle_gone(directory)
        counters.close()
    except OSError as error:
        log("books-not-settled", "warning", cause=str(error))
        return
    if lost:
        log("offers-lost", "warning", count=lost)
