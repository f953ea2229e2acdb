"""PyPI's `sparkpost`, as it comes: its whole surface for what we serve, over TLS, because it speaks nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from sparkpost import SparkPost  # type: ignore[import-untyped]  # its release of 2021 has no types
from sparkpost.exceptions import SparkPostAPIException  # type: ignore[import-untyped]  # likewise
from tests.clients.filled import Filled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def client(system: Filled, monkeypatch: pytest.MonkeyPatch) -> Any:
    """With the authority that certified our server."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(system.certified.authority))
    return SparkPost(system.key, base_uri=system.host)


def test_one_suppressed_address(client: SparkPost) -> None:
    """Made, read, changed, removed, as the client's documentation shows it: without a `type`."""
    address = "Python+One@example.com"
    described = {"email": address, "transactional": False, "non_transactional": True, "description": "asked for"}
    assert client.suppression_list.create(described) == {"message": "Suppression list successfully updated"}
    [entry] = client.suppression_list.get(address)
    assert (entry["recipient"], entry["type"], entry["source"], entry["description"]) == (
        "python+one@example.com",
        "non_transactional",
        "Manually Added",
        "asked for",
    )
    client.suppression_list.update({"email": address, "transactional": True, "description": "both now"})
    assert {each["type"] for each in client.suppression_list.get(address)} == {"transactional", "non_transactional"}
    assert client.suppression_list.delete(address) is True
    with pytest.raises(SparkPostAPIException, match="Recipient could not be found") as refusal:
        client.suppression_list.get(address)
    assert refusal.value.status == 404


def test_many_suppressed_addresses(client: SparkPost) -> None:
    """In one call; then found by dates, types and sources, which the client sends as repeated keys."""
    addresses = [f"python{number}@many.example" for number in range(20)]
    made = client.suppression_list.create([{"email": each, "non_transactional": True} for each in addresses])
    assert made == {"message": "Suppression List successfully updated"}
    found = client.suppression_list.list(
        from_date="2015-05-07T00:00:00+0000",
        to_date="2100-05-07T00:00:00+0000",
        types=["non_transactional", "transactional"],
        sources=["Manually Added"],
        limit=1_000,
    )
    assert set(addresses) <= {each["recipient"] for each in found}
    assert {each["source"] for each in found} == {"Manually Added"}


def test_automatic_entries_are_found_by_source(client: SparkPost, system: Filled) -> None:
    """What the events said, and nothing else."""
    automatic = ["Bounce Rule", "Spam Complaint", "List Unsubscribe", "Unsubscribe Link"]
    found = client.suppression_list.list(sources=automatic, limit=10_000)
    assert len(found) == len(system.load.expected.suppressed)


def test_malformed_addresses_are_named(client: SparkPost) -> None:
    """In the error that the client makes of our answer."""
    with pytest.raises(SparkPostAPIException, match=r"invalid or malformed recipient\(s\): nobody") as refusal:
        client.suppression_list.create([{"email": "nobody", "non_transactional": True}])
    assert refusal.value.status == 400


def test_lists_of_the_metrics(client: SparkPost, system: Filled) -> None:
    """Campaigns and domains, the only metrics this client knows."""
    assert set(client.metrics.campaigns.list()) == {
        each["campaign_id"] for each in system.events() if "campaign_id" in each
    }
    domains = client.metrics.domains.list(params={"match": "example", "limit": 3})
    assert 0 < len(domains) <= 3
    assert all("example" in each for each in domains)


def test_a_wrong_key_is_told(system: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """With status 401."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(system.certified.authority))
    with pytest.raises(SparkPostAPIException, match="Unauthorized") as refusal:
        SparkPost("wrong", base_uri=system.host).suppression_list.list()
    assert refusal.value.status == 401
