"""Producers: they send requests until they hear of each, as a mail server does, and note what they heard."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from tests.simulation.hose_host import HoseHost, NoAnswerError

from omni_etl.errors import IntakeError

BEGAN_AT: Final = 1_764_000_000
REQUESTS_MAX: Final = 24
EVENTS_MAX: Final = 7
RECIPIENTS: Final = 6
TRIES_MAX: Final = 60
TYPES: Final = (
    "delivery", "delivery", "open", "click", "injection", "bounce", "spam_complaint", "list_unsubscribe", "delay"
)  # fmt: skip


@dataclass(slots=True)
class Request:
    """One body, as often as it takes."""

    body: bytes
    numbers: list[str]  # what tells its events from all others
    key: str | None
    repeats: bool  # whether a second try is the same request to the hose
    accepted_at: float | None = None  # the loop's time


@dataclass
class Producers:
    """All of them, on all hoses."""

    rng: random.Random
    hoses: list[HoseHost]
    requests: list[Request] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)  # by number

    async def run(self, *, seconds: float, count: int | None = None) -> None:
        """Send everything within about this time; then each goes on until it was heard."""
        count = count or self.rng.randrange(6, REQUESTS_MAX)
        moments = sorted(self.rng.random() * seconds for _ in range(count))
        await asyncio.gather(*(self._send_at(at, self._request(number)) for number, at in enumerate(moments)))

    @property
    def accepted(self) -> set[str]:
        """Of the events."""
        return self.accepted_before(math.inf)

    def accepted_before(self, at: float) -> set[str]:
        """Of which a producer had heard by then."""
        heard = [each for each in self.requests if each.accepted_at is not None and each.accepted_at <= at]
        return {number for each in heard for number in each.numbers}

    def _request(self, number: int) -> Request:
        numbers = [f"e{number}.{at}" for at in range(self.rng.randrange(1, EVENTS_MAX))]
        with_ids = self.rng.random() < 0.8
        key = f"key {number}" if self.rng.random() < 0.4 else None
        events = [self._event(each, with_id=with_ids) for each in numbers]
        self.events.update(zip(numbers, events, strict=True))
        body = b"\n".join(map(orjson.dumps, events))
        made = Request(body, numbers, key, repeats=with_ids or key is not None)
        self.requests.append(made)
        return made

    def _event(self, number: str, *, with_id: bool) -> dict[str, Any]:
        rng = self.rng
        type_name = rng.choice(TYPES)
        event = {
            "type": type_name,
            "timestamp": str(BEGAN_AT - rng.randrange(4) * 40 + rng.randrange(3)),
            "subject": number,
            "subaccount_id": str(rng.randrange(3)),
            "rcpt_to": f"user{rng.randrange(RECIPIENTS)}@example.com",
            "campaign_id": f"c{rng.randrange(3)}",
            "message_id": f"m{rng.randrange(20)}",
            "transactional": str(rng.randrange(2)),
        }
        if type_name == "bounce":
            event["bounce_class"] = rng.choice(("10", "30", "21"))
        if with_id:
            event["event_id"] = f"{rng.getrandbits(64):016x}"
        return event

    async def _send_at(self, at: float, request: Request) -> None:
        await asyncio.sleep(at)
        hose = self.rng.choice(self.hoses)
        for _ in range(TRIES_MAX):
            try:
                answer = await hose.post(request.body, request.key, repeats=request.repeats)
            except NoAnswerError:
                if not request.repeats:
                    break  # to send it again would be to send it twice
            except IntakeError as error:
                assert error.status == 503, error  # noqa: PT017 the other outcome
            else:
                assert answer.accepted == len(request.numbers), answer
                request.accepted_at = asyncio.get_running_loop().time()
                if self.rng.random() < 0.8 or not request.repeats:
                    break  # else once more, as who did not listen
            await asyncio.sleep(self.rng.random() * 8)
