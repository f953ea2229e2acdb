"""A real role for tests: `role_program.py BEHAVIOUR FILE`; every start adds a line to the file."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from omni_etl.embedded.starter import watch_starter


async def main(behaviour: str, starts: Path) -> None:
    """Live as told."""
    with starts.open("a") as written:
        written.write(f"{os.getpid()}\n")
    if behaviour == "refuses":
        sys.stderr.write("omni: OMNI_X: found nothing. Set it.\n")
        sys.exit(2)
    if behaviour == "crashes":
        sys.stderr.write("Traceback: it was me\n")
        sys.exit(1)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if behaviour == "stubborn" else stop.set)

    def starter_gone() -> None:
        loop.call_soon_threadsafe(stop.set)

    watch_starter(0, stop=starter_gone)
    await asyncio.sleep(0)  # the handler is in place
    starts.with_suffix(".ready").write_text(str(os.getpid()))
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
