"""The build hook that compiles the hot modules with mypyc into the wheel (docs/decisions/014-native-build.md).

Off unless asked for: `HATCH_BUILD_HOOK_ENABLE_CUSTOM=true pip wheel .`; `make native` does that. Which modules are
compiled is written in pyproject.toml, beside the hook. The sources go into the wheel all the same: tracebacks show
them, and what is not compiled imports as ever.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg, unused-ignore]
    """Called by hatchling around the making of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the shared objects put beside their modules."""
        if version == "editable":
            return
        self._work = Path(tempfile.mkdtemp(prefix="tiltyard-native-"))
        for built in compiled(self.config["modules"], Path(self.root), self._work):
            build_data["force_include"][str(built)] = str(built.relative_to(self._work / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is made."""
        if version != "editable":
            shutil.rmtree(self._work, ignore_errors=True)


def compiled(modules: list[str], root: Path, work: Path) -> list[Path]:
    """Compile modules (paths from `root`) into `work/lib`; the shared objects."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    os.chdir(root)
    # Flags are mypy's own options: strictness is `make lint`'s concern, and the plugin's models are not compiled.
    extensions = mypycify(
        ["--config-file=", "--ignore-missing-imports", *modules],
        opt_level="3",
        debug_level="0",
        target_dir=str(work / "c"),
        group_name="tiltyard",
    )
    distribution = Distribution({"name": "tiltyard", "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(work / "lib")  # type: ignore[attr-defined]
    command.build_temp = str(work / "objects")  # type: ignore[attr-defined]
    command.parallel = os.cpu_count()  # type: ignore[attr-defined]
    command.ensure_finalized()
    command.run()
    found = sorted((work / "lib").rglob("*.so"))
    print(f"native: {len(found)} shared objects from {len(modules)} modules", file=sys.stderr)
    return found
