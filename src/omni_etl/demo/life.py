"""The demo's events: emails that live a life, from injection to opens, clicks, bounces and complaints.

Seeded: the same seed and time make the same bytes. Each thousand messages draws its fates from one shuffled deck, not
from dice, so that every type appears in every few thousand events, in lifelike proportions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final, TypeVar

from omni_etl.demo import words
from omni_etl.demo.account import MINUTE_SECONDS, STREAM_SECONDS, Account, pick
from omni_etl.demo.message import Message, failure
from omni_etl.demo.sidelights import sidelights

MESSAGES_COUNT: Final = 1000  # of one deck
HOUR_SECONDS: Final = 3600.0

HARD_FAILURES: Final = tuple(failure(reply) for reply in words.HARD_REPLIES)
SOFT_FAILURES: Final = tuple(failure(reply) for reply in words.SOFT_REPLIES)
DELAY_FAILURES: Final = tuple(failure(reply) for reply in words.DELAY_REPLIES)
TIMEOUT: Final = failure(words.TIMEOUT_REPLY)
SUPPRESSED: Final = failure(words.SUPPRESSED_REPLY)
REFUSED: Final = failure(words.POLICY_REPLY)
GENERATION_FAILED: Final = failure(words.GENERATION_REPLY, has_class=False)

Card = TypeVar("Card")


def events(count: int, *, seed: int, now: float) -> Iterator[bytes]:
    """`count` canonical lines without line ends, of the last twenty minutes before `now`."""
    return islice(chain.from_iterable(lives(seed=seed, now=now)), count)


def lives(*, seed: int, now: float) -> Iterator[list[bytes]]:
    """For ever: the events of the next thousand messages, and some that belong to none, in order of time."""
    rng = random.Random(seed)
    account = Account(rng)
    diary = _Diary(rng, now=now)
    while True:
        transmissions = account.transmissions(now)
        injected_at = [now - MINUTE_SECONDS - rng.random() * STREAM_SECONDS for _ in range(MESSAGES_COUNT)]
        for at, fate, reading in zip(injected_at, _shuffled(FATES, rng), _shuffled(READINGS, rng), strict=True):
            send = pick(transmissions, rng)
            reads_amp = reading in (_reads_amp, _clicks_amp)
            message = Message(send, account.recipient(), rng=rng, injected_at=at, reads_amp=reads_amp)
            if fate(diary, message):
                reading(diary, message)
        for type_name, at, members, is_named in sidelights(rng, now=now):
            diary.note(type_name, at, members, is_named=is_named)
        yield diary.close()


class _Diary:
    """Lines as they come to be, with their times; it hands out ids and says how time passes."""

    def __init__(self, rng: random.Random, *, now: float) -> None:
        self.rng = rng
        self._now = now
        self._event_id = rng.randint(10**16, 10**17)
        self._lines: list[tuple[float, bytes]] = []
        self.at = now  # where the current message's story has come to

    def note(self, type_name: bytes, at: float, members: bytes, *, is_named: bool = True) -> None:
        self.at = at
        if is_named:
            self._event_id += 1009
            line = b'{"type":"%b","event_id":"%d","timestamp":"%d"%b}' % (type_name, self._event_id, at, members)
        else:
            line = b'{"type":"%b","timestamp":"%d"%b}' % (type_name, at, members)
        self._lines.append((at, line))

    def later(self, seconds_mean: float) -> float:
        """Some time after the last note, and never after now: what has not happened yet cannot be told."""
        seconds = self.rng.expovariate(1 / seconds_mean)
        return self.at + min(seconds, (self._now - self.at) * 0.9)

    def close(self) -> list[bytes]:
        self._lines.sort()
        lines = [line for _, line in self._lines]
        self._lines.clear()
        return lines


# Fates: what becomes of a message on its way. True where it arrived and may be read.


def _is_delivered(diary: _Diary, message: Message, *, tries: int = 0) -> bool:
    if not tries:
        diary.note(b"injection", message.injected_at, message.injection())
    message.attempt(at := diary.later(2), tries=tries)
    diary.note(b"delivery", at, message.delivery())
    return True


def _is_delayed(diary: _Diary, message: Message) -> bool:
    return _is_delivered(diary, message, tries=_delays(diary, message))


def _times_out(diary: _Diary, message: Message) -> bool:
    message.attempt(at := diary.later(HOUR_SECONDS), tries=_delays(diary, message))
    diary.note(b"bounce", at, message.bounce(TIMEOUT))
    return False


def _bounces_hard(diary: _Diary, message: Message) -> bool:
    return _bounces(diary, message, diary.rng.choice(HARD_FAILURES))


def _bounces_soft(diary: _Diary, message: Message) -> bool:
    return _bounces(diary, message, diary.rng.choice(SOFT_FAILURES))


def _is_suppressed(diary: _Diary, message: Message) -> bool:
    return _bounces(diary, message, SUPPRESSED)


def _comes_back_later(diary: _Diary, message: Message) -> bool:
    _is_delivered(diary, message)
    is_stripped = diary.rng.random() < 0.2  # noqa: PLR2004 one report in five
    report = message.out_of_band(diary.rng.choice(HARD_FAILURES + SOFT_FAILURES), is_stripped=is_stripped)
    diary.note(b"out_of_band", diary.later(HOUR_SECONDS), report)
    return False


def _is_refused(diary: _Diary, message: Message) -> bool:
    diary.note(b"policy_rejection", message.injected_at, message.policy_rejection(REFUSED))
    return False


def _fails_to_generate(diary: _Diary, message: Message) -> bool:
    diary.note(b"generation_failure", message.injected_at, message.generation(GENERATION_FAILED))
    return False


def _is_not_generated(diary: _Diary, message: Message) -> bool:
    diary.note(b"generation_rejection", message.injected_at, message.generation(REFUSED))
    return False


def _bounces(diary: _Diary, message: Message, reply: bytes) -> bool:
    diary.note(b"injection", message.injected_at, message.injection())
    message.attempt(at := diary.later(2), tries=0)
    diary.note(b"bounce", at, message.bounce(reply))
    return False


def _delays(diary: _Diary, message: Message) -> int:
    diary.note(b"injection", message.injected_at, message.injection())
    count = 1 + int(diary.rng.random() * 3)
    for tries in range(count):
        message.attempt(at := diary.later(20 * MINUTE_SECONDS), tries=tries)
        diary.note(b"delay", at, message.delay(diary.rng.choice(DELAY_FAILURES)))
    return count


# Readings: what becomes of a message that arrived.


def _is_not_read(_diary: _Diary, _message: Message) -> None:
    return


def _is_prefetched(diary: _Diary, message: Message) -> None:
    diary.note(b"initial_open", diary.later(MINUTE_SECONDS), message.reading(is_prefetched=True))


def _reads(diary: _Diary, message: Message) -> None:
    diary.note(b"initial_open", diary.later(2 * HOUR_SECONDS), message.reading())
    diary.note(b"open", diary.later(1), message.reading())


def _reads_again(diary: _Diary, message: Message) -> None:
    _reads(diary, message)
    diary.note(b"open", diary.later(4 * HOUR_SECONDS), message.reading())


def _clicks(diary: _Diary, message: Message) -> None:
    _reads(diary, message)
    for _ in range(1 + int(diary.rng.random() * 3)):
        diary.note(b"click", diary.later(MINUTE_SECONDS), message.click())


def _reads_amp(diary: _Diary, message: Message) -> None:
    diary.note(b"amp_initial_open", diary.later(2 * HOUR_SECONDS), message.reading())
    diary.note(b"amp_open", diary.later(1), message.reading())


def _clicks_amp(diary: _Diary, message: Message) -> None:
    _reads_amp(diary, message)
    diary.note(b"amp_click", diary.later(MINUTE_SECONDS), message.click())


def _complains(diary: _Diary, message: Message) -> None:
    _reads(diary, message)
    diary.note(b"spam_complaint", diary.later(HOUR_SECONDS), message.complaint())


def _unsubscribes(diary: _Diary, message: Message) -> None:
    diary.note(b"list_unsubscribe", diary.later(HOUR_SECONDS), message.list_unsubscribe())


def _follows_the_link(diary: _Diary, message: Message) -> None:
    _reads(diary, message)
    diary.note(b"link_unsubscribe", diary.later(MINUTE_SECONDS), message.link_unsubscribe())


def _is_angry(diary: _Diary, message: Message) -> None:
    """Two things said about one address: one entry."""
    _complains(diary, message)
    _follows_the_link(diary, message)


def _shuffled(deck: tuple[tuple[Card, int], ...], rng: random.Random) -> list[Card]:
    cards = [card for card, count in deck for _ in range(count)]
    rng.shuffle(cards)
    return cards


Fate = Callable[[_Diary, Message], bool]
Reading = Callable[[_Diary, Message], None]
FATES: Final[tuple[tuple[Fate, int], ...]] = (
    (_is_delivered, 905), (_is_delayed, 30), (_times_out, 6), (_bounces_hard, 20), (_bounces_soft, 18),
    (_is_suppressed, 6), (_is_refused, 5), (_fails_to_generate, 4), (_is_not_generated, 3), (_comes_back_later, 3),
)  # fmt: skip
READINGS: Final[tuple[tuple[Reading, int], ...]] = (
    (_is_not_read, 700), (_is_prefetched, 89), (_reads, 100), (_reads_again, 25), (_clicks, 48), (_reads_amp, 12),
    (_clicks_amp, 8), (_complains, 4), (_unsubscribes, 8), (_follows_the_link, 4), (_is_angry, 2),
)  # fmt: skip
