"""The domain of an address where an event does not name it; one rule, so that both tables of the store agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

_ADDRESS_DOMAIN: Final = r"@(?P<domain>[^@> ]+)>?$"


class Addressed(Protocol):
    """The fields of an event that name or hold its domains."""

    rcpt_to: str | None
    friendly_from: str | None
    recipient_domain: str | None
    sending_domain: str | None


def name_domains(events: Iterable[Addressed]) -> None:
    """Fill in the domains that events leave out: the address's own in lower case, None where it has none.

    SparkPost's webhooks carry no `sending_domain`, though the Events API searches and the Metrics API groups by it.
    """
    unsent = [each for each in events if each.sending_domain is None]
    unreceived = [each for each in events if each.recipient_domain is None]
    if not unsent and not unreceived:
        return
    domain_of = _domains({each.friendly_from for each in unsent} | {each.rcpt_to for each in unreceived})
    for each in unsent:
        each.sending_domain = domain_of[each.friendly_from]
    for each in unreceived:
        each.recipient_domain = domain_of[each.rcpt_to]


def _domains(addresses: Iterable[str | None]) -> dict[str | None, str | None]:
    given = list(addresses)
    found = pc.extract_regex(pa.array(given, pa.string()), pattern=_ADDRESS_DOMAIN)
    return dict(zip(given, pc.utf8_lower(pc.struct_field(found, "domain")).to_pylist(), strict=True))
