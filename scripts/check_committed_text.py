"""Refuses text that no committed file may hold.

A registry's host in a lock or a recipe would override the index that an installation is set up
with; a path of somebody's machine works nowhere else. Runs over what git tracks, or over the whole
tree where it is not a git checkout (an unpacked archive).
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED_FOLDERS = {".git", ".venv", "state", "build", "dist"}

# Spelled in parts, so that this file passes its own check.
REGISTRY_HOSTS = (
    ("py" + "pi", "org"),
    ("files.python" + "hosted", "org"),
    ("registry.npm" + "js", "org"),
    ("deb.de" + "bian", "org"),
    ("archive.ubu" + "ntu", "com"),
)
FORBIDDEN = {
    "a package registry's host": "|".join(re.escape(".".join(host)) for host in REGISTRY_HOSTS),
    "a local file address": "file:" + "//(?=/)",
    "a path of one machine": r"(?<![\w.}])/(?:work|farm|root|Users|home/[a-z][\w-]*|tmp/plan)/",
}
PATTERNS = {what: re.compile(pattern) for what, pattern in FORBIDDEN.items()}


def committed_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in ROOT.rglob("*") if not SKIPPED_FOLDERS.intersection(path.relative_to(ROOT).parts)]


def findings(name: Path, content: bytes) -> list[str]:
    if b"\0" in content:
        return []
    return [
        f"{name}:{number}: {what}: {found.group()}"
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1)
        for what, pattern in PATTERNS.items()
        if (found := pattern.search(line))
    ]


def main() -> int:
    files = [path for path in committed_files() if path.is_file()]
    found = [line for path in files for line in findings(path.relative_to(ROOT), path.read_bytes())]
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
