"""Beside: a module of ours run as a process that ends when we do, and may be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Beside:
    """`python -m module arguments`, at once; `prefix` may put it elsewhere."""

    def __init__(self, module: str, *arguments: str, log: Path, prefix: Sequence[str] = ()) -> None:
        self._command = [*prefix, sys.executable, "-m", module, *arguments]
        self._log = log
        self._process = self._started()

    @property
    def pid(self) -> int:
        """The one that lives now."""
        return self._process.pid

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.wait()
        self._close()

    def start(self) -> None:
        """Again, after `kill`."""
        self._process = self._started()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """For good; a stopped one too."""
        if self._process.poll() is None:
            self.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,  # our end closes when we die, however we die
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,  # Ctrl-C comes to us, and we end it
            )

    def _close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
