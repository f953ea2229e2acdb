"""Documentation of events: which there are, which fields each has, and samples; for webhooks and searches, without a key.

All of it is made from `event_documentation.toml` (reference: SparkPost, §2.2, §3.2).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, Request

from omni_etl.api.event_form import shown
from omni_etl.api.event_query import MESSAGE_TYPES, types_named
from omni_etl.api.parameters import Parameters
from omni_etl.api.problems import described
from omni_etl.event import GROUP_OF, TYPES

Samples = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Documented:
    """One type of events."""

    name: str
    display_name: str
    description: str
    meanings: Mapping[str, str]  # of its fields
    sample: Samples  # as webhooks have it

    def members(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Its fields, each with what it means and a value of this sample."""
        return {name: {"description": self.meanings[name], "sampleValue": value} for name, value in sample.items()}


_EVENTS: Final = {
    "name": "events",
    "in": "query",
    "required": False,
    "schema": {"type": "string", "description": "A list of types; all where it is left out."},
}
_SAMPLES: Final[dict[str, Any]] = {
    "responses": described({400: "A type that is none"}),
    "openapi_extra": {"parameters": [_EVENTS]},
}

router = APIRouter(tags=["Events"])


@router.get("/webhooks/events/documentation")
async def document_webhooks() -> dict[str, Any]:
    """Every type by group, as webhooks bring it."""
    return {"results": by_group()}


@router.get("/webhooks/events/samples", **_SAMPLES)
async def sample_webhooks(request: Request) -> dict[str, Any]:
    """A sample of each type, as webhooks bring it."""
    return {"results": [{"msys": {GROUP_OF[each.name]: each.sample}} for each in _named(request, TYPES)]}


@router.get("/events/message/documentation")
@router.get("/message-events/events/documentation")
async def document_searches() -> dict[str, Any]:
    """Every type that a search finds, as it shows it."""
    return {"results": [_flat(each) for each in documented().values() if each.name in MESSAGE_TYPES]}


@router.get("/events/message/samples", **_SAMPLES)
@router.get("/message-events/events/samples", **_SAMPLES)
async def sample_searches(request: Request) -> dict[str, Any]:
    """A sample of each type that a search finds, as it shows it."""
    return {"results": [shown(deepcopy(each.sample)) for each in _named(request, MESSAGE_TYPES)]}


def by_group() -> dict[str, Any]:
    """Groups with their types, and these with their fields."""
    return {
        name: {
            "description": group["description"],
            "display_name": group["display_name"],
            "events": {each: _nested(documented()[each]) for each in group["types"]},
        }
        for name, group in _source()["groups"].items()
    }


@cache
def documented() -> dict[str, Documented]:
    """Every type, in the order of the file."""
    groups = _source()["groups"].values()
    return {name: _type(name, said) for group in groups for name, said in group["types"].items()}


def _nested(each: Documented) -> dict[str, Any]:
    return {"description": each.description, "display_name": each.display_name, "event": each.members(each.sample)}


def _flat(each: Documented) -> dict[str, Any]:
    """With two members that are no fields, in the shape of one."""
    return {
        **each.members(shown(deepcopy(each.sample))),
        "display_name": {"description": "Name of the type", "sampleValue": each.display_name},
        "event_description": {"description": "When it happens", "sampleValue": each.description},
    }


def _named(request: Request, among: frozenset[str]) -> Iterator[Documented]:
    """In the order of the documentation, whatever the order of the request."""
    wanted: Collection[str] = types_named(Parameters.of(request), among) or among
    return (each for each in documented().values() if each.name in wanted)


def _type(name: str, said: Mapping[str, Any]) -> Documented:
    own = {"type": name, **said.get("samples", {})}
    fields = sorted(set(_fields(said["fields"])))
    known = {each: _source()["fields"][each] for each in fields}
    return Documented(
        name=name,
        display_name=said["display_name"],
        description=said["description"],
        meanings={each: meaning for each, (meaning, _) in known.items()},
        sample={each: own.get(each, sample) for each, (_, sample) in known.items()},
    )


def _fields(text: str) -> Iterator[str]:
    """Names in capitals stand for sets of fields."""
    for word in text.split():
        if word.isupper():
            yield from _fields(_source()["sets"][word])
        else:
            yield word


@cache
def _source() -> dict[str, Any]:
    return tomllib.loads((files("omni_etl.api") / "event_documentation.toml").read_text(encoding="utf-8"))
