"""Nothing outlives its starter: the other end of a pipe tells, because the kernel closes it even after kill -9.

`watch_starter` is for our own processes. `watched` is for foreign programs that know nothing of this, such as Valkey: they
run under this file as a small program of its own. It imports nothing of ours, so that the watcher stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

GRACE_SECONDS: Final = 1.5  # after EOF; everything has ended within two seconds
EXIT_CODE_ORPHANED: Final = 1
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PIPE_READ_BYTES: Final = 4096


def watch_starter(
    descriptor: int, *, stop: Callable[[], None], end: Callable[[], None] = lambda: os._exit(EXIT_CODE_ORPHANED)
) -> threading.Thread:
    """Watch a pipe from a thread: at EOF call `stop`, and `end` after the grace. Both run in that thread.

    Only the starter may hold the other end: hand it to no other child.
    """
    thread = threading.Thread(target=_watch, args=(descriptor, stop, end), name="starter", daemon=True)
    thread.start()
    return thread


def watched(arguments: Sequence[str]) -> list[str]:
    """The command that runs a program under a watcher: start it with a pipe as standard input and keep the other end."""
    return [sys.executable, "-I", __file__, *arguments]


def run_watched(arguments: Sequence[str], *, descriptor: int = 0) -> int:
    """Run a program until it ends or the starter does, passing SIGTERM and SIGINT on; answer its exit code.

    It has a session of its own, so that Ctrl-C at a terminal reaches it once, through us. Where this watcher itself is
    killed, Linux kills the program (elsewhere it lives on).
    """
    child = subprocess.Popen(  # noqa: S603 our own starter names the program
        arguments,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 no thread runs yet
    )
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, _frame: child.send_signal(number))
    watch_starter(descriptor, stop=child.terminate, end=child.kill)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _watch(descriptor: int, stop: Callable[[], None], end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):  # a pipe that cannot be read is as good as gone
        while os.read(descriptor, PIPE_READ_BYTES):
            pass
    ending = threading.Timer(GRACE_SECONDS, end)  # runs even where `stop` hangs
    ending.daemon = True
    ending.start()
    stop()


def _die_with(parent_pid: int) -> Callable[[], None] | None:
    """For between fork and exec: ask Linux for SIGKILL when the watcher dies, and notice if it has already."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded before the fork

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(EXIT_CODE_ORPHANED)

    return ask


if __name__ == "__main__":
    sys.exit(run_watched(sys.argv[1:]))
