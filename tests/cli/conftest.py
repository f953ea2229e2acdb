"""The command line as a process, and as a call."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from omni_etl.cli.app import app

Omni = Callable[..., Result]
Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory, named by the environment; no `omni.toml` is read."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "omni-data"
    made.mkdir()
    monkeypatch.setenv("OMNI_DATA_DIR", str(made))
    monkeypatch.setenv("COLUMNS", "200")
    return made


@pytest.fixture
def omni(directory: Path) -> Omni:
    """One command, in this process; errors of ours come out as they are."""
    return lambda *arguments: CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.fixture
def started(directory: Path) -> Iterator[Started]:
    """Start a program of ours as a process that we hold by its standard input; ended after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMNI_LOG_FORMAT": "json", **environment},
        )
        processes.append(process)
        return process

    yield start
    for each in processes:
        each.kill()
        each.wait()
        for pipe in (each.stdin, each.stdout, each.stderr):
            assert pipe is not None
            pipe.close()
