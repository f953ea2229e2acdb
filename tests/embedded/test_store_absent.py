"""embedded.store_absent: who decides about a key decides alone."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

from omni_etl.embedded.store_absent import Claims


def test_those_that_share_a_key_go_one_after_the_other() -> None:
    """Many threads with keys in common: never two inside with the same key."""
    claims = Claims()
    inside: dict[str, int] = dict.fromkeys("abc", 0)
    most: dict[str, int] = dict.fromkeys("abc", 0)
    start = Barrier(8)

    def decide(number: int) -> None:
        start.wait()
        keys = ("abc" * 2)[number % 3 : number % 3 + 2]
        for _ in range(200):
            with claims.holding("t", keys):
                for key in keys:
                    inside[key] += 1
                    most[key] = max(most[key], inside[key])
                for key in keys:
                    inside[key] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decide, range(8)))
    assert most == {"a": 1, "b": 1, "c": 1}


def test_other_keys_and_other_tables_do_not_wait() -> None:
    """Only what is shared is waited for."""
    claims = Claims()
    with claims.holding("t", ["a"]), claims.holding("t", ["b"]), claims.holding("u", ["a"]):
        pass


def test_a_failure_gives_its_keys_back() -> None:
    """The next one finds them free, also one that was waiting."""
    claims = Claims()
    taken, let_go = Event(), Event()

    def fail() -> None:
        with claims.holding("t", ["a"]):
            taken.set()
            let_go.wait()
            raise ZeroDivisionError

    def follow() -> bool:
        taken.wait()
        let_go.set()
        with claims.holding("t", ["a"]):
            return True

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(fail)
        assert pool.submit(follow).result()
        assert isinstance(failing.exception(), ZeroDivisionError)
