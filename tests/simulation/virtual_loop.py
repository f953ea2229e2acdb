"""A loop whose time is virtual and whose processes die, freeze and wake: the same seed always runs the same way.

Time stands while anything can run and then jumps to the next timer, so an hour costs what happens in it. Threads are
there for nobody: their work is done at once, on the loop. A process is a context: whatever is started within inherits
it, and once it is dead none of it runs again, not even a `finally`, as after kill -9.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

PROCESS: Final[ContextVar[str]] = ContextVar("process", default="world")
CALLBACKS_MAX: Final = 200_000  # at one moment: more is a loop that turns without time passing
BURIALS_MAX: Final = 5  # who does not end then waits in its `finally` for what does not come


class StuckError(SystemExit):
    """Nothing will ever happen again, or something turns while time stands. Ends the loop, as only an exit does."""


_Step = tuple[Any, tuple[Any, ...], Context]


class PowerLostError(BaseException):
    """The machine under a blocking call is gone; nobody hears of the call any more."""


class _Selector(selectors.BaseSelector):
    """Waits by moving time on."""

    def __init__(self) -> None:
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        assert self.loop is not None
        if timeout is None:
            raise StuckError("nobody waits for time, and nothing can run")
        if timeout > 0:
            self.loop.pass_time(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_map(self) -> dict[Any, Any]:
        return {}


class _Numbered:
    """Sets of these have the same order in every run; addresses have not."""

    number: int

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Future(_Numbered, asyncio.Future[Any]):
    __hash__ = _Numbered.__hash__

    def __init__(self, *, loop: VirtualLoop) -> None:
        self.number = next(loop.numbers)
        super().__init__(loop=loop)


class _Task(_Numbered, asyncio.Task[Any]):
    __hash__ = _Numbered.__hash__

    def __init__(self, work: Coroutine[Any, Any, Any], *, loop: VirtualLoop, **kwargs: Any) -> None:
        self.number = next(loop.numbers)
        super().__init__(work, loop=loop, **kwargs)


class VirtualLoop(asyncio.SelectorEventLoop):
    """One run's world. `elapsed` is its time."""

    def __init__(self) -> None:
        selector = _Selector()
        self.elapsed = 0.0
        self.callbacks = 0
        self._callbacks_max = CALLBACKS_MAX
        self.numbers = itertools.count(1)
        self._made = itertools.count(1)
        self.dead: set[str] = set()
        self.frozen: dict[str, list[_Step]] = {}  # process → what it would have done meanwhile
        self._undone: list[_Step] = []  # what the dead would have done next
        self._unfinished: dict[asyncio.Task[Any], None] = {}  # the dead stay here: nobody may close their coroutines
        super().__init__(selector)
        selector.loop = self
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # mypy wants a protocol with itself in it

    def time(self) -> float:
        """Seconds since the beginning."""
        return self.elapsed

    def pass_time(self, seconds: float) -> None:
        """Nothing can run until then."""
        self.elapsed += seconds
        self._callbacks_max = self.callbacks + CALLBACKS_MAX

    def create_future(self) -> asyncio.Future[Any]:
        """One with a number."""
        return _Future(loop=self)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # any callback
        """Run it unless its process is dead by then."""
        process = PROCESS.get() if context is None else context.get(PROCESS, "world")
        return super().call_soon(self._guard, process, callback, args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:  # type: ignore[override]  # any callback
        """The same, later."""
        process = PROCESS.get() if context is None else context.get(PROCESS, "world")
        return super().call_at(when, self._guard, process, callback, args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # any callback
        """Done at once: a thread's own pace would not repeat."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except PowerLostError:
            return future  # that never comes
        except Exception as error:  # noqa: BLE001 handed to who waits
            future.set_exception(error)
        return future

    def start(self, process: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A new process, beginning with this."""
        assert process not in self.dead, process
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(work, context=context)

    def kill(self, process: str) -> None:
        """It does nothing any more; what it was about to do does not happen."""
        self.dead.add(process)
        self._undone += self.frozen.pop(process, [])

    def freeze(self, process: str) -> None:
        """SIGSTOP."""
        if process not in self.dead:
            self.frozen.setdefault(process, [])

    def thaw(self, process: str) -> None:
        """SIGCONT: all that became due meanwhile, in its order."""
        for callback, args, context in self.frozen.pop(process, []):
            self.call_soon(callback, *args, context=context)

    def bury(self) -> None:
        """After the run: the dead may end now, where nothing can be changed by it any more."""
        self.set_exception_handler(lambda _loop, _context: None)
        for process in list(self.frozen):
            self.kill(process)
        self.dead.clear()
        for callback, args, context in self._undone:
            self.call_soon(callback, *args, context=context)
        for _ in range(BURIALS_MAX):
            for task in self._unfinished:
                task.cancel()
            if self._unfinished:
                self.run_until_complete(asyncio.wait(list(self._unfinished), timeout=60))
            self._forget_finished()

    def _forget_finished(self) -> None:
        self._unfinished = {task: None for task in self._unfinished if not task.done()}

    def _guard(self, process: str, callback: Any, args: tuple[Any, ...]) -> None:
        if process in self.dead:
            self._undone.append((callback, args, copy_context()))
            return
        if process in self.frozen:
            self.frozen[process].append((callback, args, copy_context()))
            return
        self.callbacks += 1
        if self.callbacks > self._callbacks_max:
            raise StuckError(f"{process} turns while time stands at {self.elapsed} s: {callback}")
        callback(*args)

    def _make_task(self, loop: Any, work: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
        task = _Task(work, loop=self, **kwargs)
        self._unfinished[task] = None
        if next(self._made) % 1_000 == 0:
            self._forget_finished()
        return task


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
    """Run a world to its end. The collector waits: what the dead left would run its `finally` in the middle."""
    loop = VirtualLoop()
    gc.disable()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.bury()
        loop.close()
        gc.enable()
