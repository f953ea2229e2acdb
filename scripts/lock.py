"""Write requirements.lock: what pip resolves for pyproject.toml on a bare machine, pinned, with hashes.

`make lock` runs this with the Python of a fresh environment, so that nothing installed can bend the answer. Versions are
those of this machine; hashes are those of the wheels for every kind of machine in `MACHINES`, so that the lock holds there.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

HEAD = "# Made by `make lock` from pyproject.toml; do not edit.\n"
BUILD = ["hatchling", "editables"]  # so that the editable install needs no network of its own
PYTHONS = ["3.11", "3.12", "3.13"]
MACHINES = {
    "linux x86_64": [*(f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)), "manylinux2014_x86_64"],
    "linux aarch64": [*(f"manylinux_2_{minor}_aarch64" for minor in range(39, 16, -1)), "manylinux2014_aarch64"],
    "macos arm64": [*(f"macosx_{major}_0_arm64" for major in range(15, 10, -1)), "macosx_11_0_universal2"],
}
Pin = tuple[str, str]


def main(lock: Path) -> None:
    """Resolve, collect, write."""
    project = tomllib.loads((lock.parent / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"], *BUILD]
    hashes = report(wanted)
    pins = [f"{name}=={version}" for name, version in hashes]
    for machine, tags in MACHINES.items():
        for python in PYTHONS:
            try:
                found = report(pins, "--no-deps", "--python-version", python, *(f"--platform={tag}" for tag in tags))
            except subprocess.CalledProcessError as error:
                print(f"not locked for {machine}, Python {python}: {error.stderr.strip().splitlines()[-1]}")
                continue
            for pin, each in found.items():
                hashes[pin] |= each
    lock.write_text(HEAD + "".join(entry(pin, hashes[pin]) for pin in sorted(hashes)))


def report(wanted: list[str], *options: str) -> dict[Pin, set[str]]:
    """What pip would install, and the SHA-256 of each file of it."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    with TemporaryDirectory() as target:
        command = [*pip, "--only-binary", ":all:", "--target", target, *options, *wanted]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[Pin, set[str]] = defaultdict(set)
    for each in json.loads(answer.stdout)["install"]:
        name = re.sub(r"[-_.]+", "-", each["metadata"]["name"]).lower()
        found[name, each["metadata"]["version"]].add(each["download_info"]["archive_info"]["hashes"]["sha256"])
    return found


def entry(pin: Pin, hashes: set[str]) -> str:
    """One pin as pip reads it."""
    return "==".join(pin) + "".join(f" \\\n    --hash=sha256:{each}" for each in sorted(hashes)) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
