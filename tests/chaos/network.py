"""A host of its own for what is far away: a network namespace behind a cable that can be cut, where this machine allows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

NEAR = "10.213.{}.1"
FAR = "10.213.{}.2"
LOOPBACK = "127.0.0.1"


class FarHost:
    """`address` is how the system reaches it; loopback where namespaces are refused, and then there is nothing to cut."""

    def __init__(self) -> None:
        number = os.getpid()
        self._name = f"omni-chaos-{number}"
        self._near, self._far = f"och{number}n", f"och{number}f"
        self.address = FAR.format(number % 250)
        self._near_address = NEAR.format(number % 250)
        self.why_not = ""
        self.can_cut = self._made()
        if not self.can_cut:
            self.close()
            self.address = LOOPBACK

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to run there."""
        return ["ip", "netns", "exec", self._name] if self.can_cut else []

    @property
    def network(self) -> str:
        """CIDR of the address."""
        return f"{self.address}/32"

    @contextmanager
    def cut(self) -> Iterator[None]:
        """No packet passes, and nobody is told."""
        self._ip("link", "set", self._near, "down")
        try:
            yield
        finally:
            self._ip("link", "set", self._near, "up")

    def close(self) -> None:
        """Forget it."""
        for command in (["link", "del", self._near], ["netns", "del", self._name]):
            subprocess.run(["ip", *command], check=False, capture_output=True)

    def _made(self) -> bool:
        steps = [
            ["netns", "add", self._name],
            ["link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name],
            ["addr", "add", f"{self._near_address}/30", "dev", self._near],
            ["link", "set", self._near, "up"],
            ["-n", self._name, "addr", "add", f"{self.address}/30", "dev", self._far],
            ["-n", self._name, "link", "set", self._far, "up"],
            ["-n", self._name, "link", "set", "lo", "up"],
        ]
        try:
            for step in steps:
                self._ip(*step)
        except (OSError, subprocess.CalledProcessError) as error:
            self.why_not = str(getattr(error, "stderr", error)).strip()
            return False
        return True

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
