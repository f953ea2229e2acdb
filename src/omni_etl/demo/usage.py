"""What each process costs: CPU seconds and resident memory, from Linux's /proc; empty elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """One process's cost so far."""

    cpu_seconds: float
    resident_mib: float
    resident_mib_max: float

    def since(self, before: Usage | None) -> Usage:
        """With only the CPU time spent since then."""
        return self if before is None else replace(self, cpu_seconds=self.cpu_seconds - before.cpu_seconds)


def usage(pid: int) -> Usage | None:
    """None where the process is gone, or this is not Linux."""
    process = Path("/proc") / str(pid)
    try:
        ticks = (process / "stat").read_text().rpartition(")")[2].split()
        lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    except OSError:
        return None
    cpu_ticks = int(ticks[11]) + int(ticks[12])  # utime and stime, proc(5) fields 14 and 15
    return Usage(cpu_ticks / os.sysconf("SC_CLK_TCK"), _mib(lines.get("VmRSS")), _mib(lines.get("VmHWM")))


def _mib(text: str | None) -> float:
    return 0.0 if text is None else int(text.split()[0]) / 1024
