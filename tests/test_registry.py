"""registry: what an envelope owes. The contract's suite is in `contracts/`."""

from omni_etl.registry import RegisteredService, owed


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
