"""Small disks of memory under the system's directories, so that each can fill up alone, or vanish and come back."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOP_UP_SECONDS = 0.1
BALLAST_BYTES_MIN = 4096


class Disks:
    """`place(name)` is what the system is told; it leads to a disk of its own where this machine lets us mount one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mounted: dict[str, Path] = {}
        self.can_mount = True
        self.why_not = ""

    def make(self, place: Path, *, mebibytes: int) -> None:
        """Let this path lead to a disk of so much; to a plain directory where mounting is refused."""
        disk = self._directory / place.name
        disk.mkdir(parents=True)
        asked = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "omni-chaos", str(disk)]
        done = subprocess.run(asked, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            self._mounted[place.name] = disk
        else:
            self.can_mount, self.why_not = False, done.stderr.strip()
        inside = disk / "files"
        inside.mkdir(mode=0o700)
        place.symlink_to(inside)

    @contextmanager
    def full(self, name: str) -> Iterator[None]:
        """Nothing more fits on this disk inside the block, whatever is deleted there meanwhile."""
        ballast = self._mounted[name] / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                _fill(file.fileno())
                yield
        finally:
            ballast.unlink(missing_ok=True)

    def top_up(self, name: str, *, seconds: float) -> None:
        """For use inside `full`: take what becomes free, for so long."""
        until = time.monotonic() + seconds  # noqa: TID251 real processes have real time
        with (self._mounted[name] / "ballast").open("ab", buffering=0) as file:
            while time.monotonic() < until:  # noqa: TID251 see above
                _fill(file.fileno())
                time.sleep(TOP_UP_SECONDS)  # noqa: TID251 see above

    def keep(self, directory: Path) -> None:
        """A copy of all files, for whoever looks for what went wrong."""
        directory.mkdir(exist_ok=True)
        for name, disk in self._mounted.items():
            subprocess.run(["cp", "-a", str(disk / "files"), str(directory / name)], check=False, capture_output=True)

    def close(self) -> None:
        """Unmount; what still has a file open there keeps it until it ends."""
        for disk in self._mounted.values():
            subprocess.run(["umount", "--lazy", str(disk)], check=False, capture_output=True)
        self._mounted.clear()


def _fill(descriptor: int) -> None:
    """Write zeros until nothing fits any more."""
    size = 4 * 1024 * 1024
    while size >= BALLAST_BYTES_MIN:
        try:
            if os.write(descriptor, bytes(size)) < size:
                size //= 2
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            size //= 2
