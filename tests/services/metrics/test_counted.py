"""services.metrics.counted: an envelope's events as numbers."""

import msgspec
import numpy as np
from tests import builders

from omni_etl.envelope import Envelope
from omni_etl.services.metrics.counted import counted
from omni_etl.services.pieces import PIECE_BYTES


def test_each_number_is_of_its_event() -> None:
    """Across types and pieces, in payload order."""
    subject = "x" * (PIECE_BYTES // 40)
    lines = [
        builders.line(
            name, subject=subject, campaign_id=f"{name} {each}", timestamp=str(60 * each), queue_time=str(each)
        )
        for name in ("bounce", "delivery", "open", "sms_status")
        for each in range(100)
    ]
    found = counted(builders.envelope(lines))
    texts = found.texts.to_pylist()
    names = [texts[code] for code in found.types]
    assert names == [name for name in ("bounce", "delivery", "open", "sms_status") for _ in range(100)]
    assert [texts[code] for code in found.dimensions["campaign_id"]] == [
        f"{name} {each % 100}" for each, name in enumerate(names)
    ]
    assert found.minutes.tolist() == [*range(100)] * 4
    assert found.delivery_ms.tolist() == [0] * 100 + [*range(100)] + [0] * 200
    assert found.failures.tolist() == [*range(100)]
    assert np.flatnonzero(found.messages).tolist() == [*range(200, 300)]
    assert not found.measures[300:].any()


def test_what_an_event_leaves_out_has_the_code_of_nothing() -> None:
    """Absent, null and '' are one; code 0."""
    found = counted(builders.envelope([builders.line("open"), builders.line("open", ip_pool=None, template_id="")]))
    assert not any(codes.any() for codes in found.dimensions.values())
    assert found.texts[0].as_py() == ""


def test_a_type_that_is_not_known_has_its_name() -> None:
    """A newer hose may know more types: they count in the family `type`."""
    known = builders.envelope([builders.line("open")])
    [range_of_open] = known.header.types
    header = msgspec.structs.replace(known.header, types=(msgspec.structs.replace(range_of_open, type="unheard_of"),))
    found = counted(Envelope(header, known.raw))
    assert [found.texts[int(code)].as_py() for code in found.types] == ["unheard_of"]
    assert found.measures.tolist() == [0]


def test_an_empty_envelope_has_no_numbers() -> None:
    """A quiet hose sends one a minute."""
    found = counted(builders.envelope([]))
    assert [len(each) for each in (found.types, found.minutes, found.delivery_ms, *found.dimensions.values())] == [
        0
    ] * 14
