"""A real starter for tests of its death: starts one role, says so, and waits to be killed."""

import asyncio
import fcntl
import os
import random
import sys
from pathlib import Path

from omni_etl.clock import SystemClock
from omni_etl.embedded.roles import Role, Roles

ROLE = Path(__file__).with_name("role_program.py")


def role(behaviour: str, directory: Path, *, stop_seconds_max: float = 10.0) -> Role:
    """A role that behaves as told; ready when it has written its pid."""
    starts = directory / behaviour

    async def is_ready(pid: int) -> bool:
        ready = starts.with_suffix(".ready")
        return ready.exists() and ready.read_text() == str(pid)

    return Role(
        name=behaviour,
        arguments=[sys.executable, str(ROLE), behaviour, str(starts)],
        environment={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        is_ready=is_ready,
        stop_seconds_max=stop_seconds_max,
    )


def roles(directory: Path) -> Roles:
    """None yet; the directory is locked, as by `omni up`."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return Roles(logs=directory / "logs", lock=lock, clock=SystemClock(), rng=random.Random(1))


async def main(directory: Path, behaviours: list[str]) -> None:
    """All of them."""
    subject = roles(directory)
    for each in behaviours:
        await subject.start(role(each, directory), seconds_max=20)
    os.write(1, b"up\n")
    await subject.watch()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
