"""What the OpenAPI document says is so: schemathesis asks what nobody would, by that document, of a filled system."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.clients.filled import Filled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 20


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    """The document says of lines that they are text."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def test_the_document_is_true(system: Filled) -> None:
    """Of each operation: no 5xx, no status, media type or member that the document does not tell of."""
    asked = {operation.label: _ask(operation, system) for operation in _operations(system)}
    assert len(asked) > 50
    assert all(asked.values()), asked


def _operations(system: Filled) -> list[Any]:
    document = schemathesis.openapi.from_url(
        f"https://{system.host}/openapi.json", verify=str(system.certified.authority)
    )
    found: list[Any] = [each.ok() for each in document.get_all_operations() if isinstance(each, Ok)]
    return [each for each in found if not each.path.endswith("/changes")]  # a stream has no end


def _ask(operation: Any, system: Filled) -> int:
    """How often it was asked."""
    count = 0

    @settings(
        max_examples=EXAMPLES,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case[Any]) -> None:
        nonlocal count
        count += 1
        case.call_and_validate(
            checks=CHECKS, headers={"Authorization": system.key}, verify=str(system.certified.authority), timeout=30
        )

    ask()
    return count
