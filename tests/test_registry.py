"""registry: what an envelope owes. The contract's suite is in `contracts/`."""

from omni_etl.registry import CLOCKS_APART_SECONDS, REGISTRATION_SECONDS, RegisteredService, known_until_ms, owed
from omni_etl.supervisor.fleet import HEAR_SECONDS


def test_an_envelope_owes_who_was_there_before_its_cut() -> None:
    """The moment itself counts; a younger service and a retired one are not owed."""
    services = [
        RegisteredService("older", 10, retired=False),
        RegisteredService("same", 20, retired=False),
        RegisteredService("younger", 21, retired=False),
        RegisteredService("retired", 10, retired=True),
    ]
    assert owed(services, 20) == {"older", "same"}
    assert owed(services, 9) == frozenset()


def test_nobody_can_have_been_registered_unheard_before_the_grace() -> None:
    """A service registered right after a parent asked is owed what is cut after what that parent believes to know."""
    heard_at = 1_700_000_000.0
    since_ms = (heard_at - CLOCKS_APART_SECONDS + REGISTRATION_SECONDS) * 1000  # by a registering clock that is slow
    assert known_until_ms(heard_at) <= since_ms
    assert known_until_ms(heard_at) > (heard_at + 2 * HEAR_SECONDS) * 1000  # and one hearing may fail
