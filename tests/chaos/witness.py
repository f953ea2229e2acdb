"""Witnesses: whether what a fault hit works again, told by its effects and not by its word."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial

import redis
import urllib3
from tests.chaos.world import ANSWER_SECONDS_MAX, World

TROUBLE = (OSError, sqlite3.Error, redis.RedisError, urllib3.exceptions.HTTPError, AssertionError, ValueError)


class Witness:
    """Sees one thing grow, or answer, after it was made; what cannot be asked has not come back."""

    def __init__(self, world: World, name: str) -> None:
        self._look: Callable[[World], int] = _LOOKS.get(name) or partial(World.effects, service=name)
        self._world = world
        self._before: int | None = None

    def is_back(self) -> bool:
        """Whether there was more at some look than at the first that could be answered."""
        try:
            seen = self._look(self._world)
        except TROUBLE:
            return False
        if self._before is None:
            self._before = seen
            return False
        return seen > self._before


class Answering(Witness):
    """Of those that only answer."""

    def is_back(self) -> bool:
        """Whether it answers now."""
        try:
            return bool(self._look(self._world))
        except TROUBLE:
            return False


def witness(world: World, name: str) -> Witness:
    """From now on."""
    return (Answering if name in ("api", "tracker") else Witness)(world, name)


def _tracker(world: World) -> int:
    url = world.system.places["tracker_url"]
    with closing(redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS_MAX)) as connected:
        return int(bool(connected.ping()))


_LOOKS: dict[str, Callable[[World], int]] = {
    "accepted": lambda world: world.load.accepted,
    "received": World.received_bytes,
    "api": lambda world: int(world.await_api()),
    "tracker": _tracker,
}
