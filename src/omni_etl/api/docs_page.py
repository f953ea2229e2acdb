"""The page of documentation: the OpenAPI document in one HTML page that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
h2 {{ margin-top: 3rem; border-bottom: 1px solid #ccc }} h3 {{ font-family: ui-monospace, monospace; margin-bottom: 0 }}
table {{ border-collapse: collapse; margin: .5rem 0 }} td, th {{ border: 1px solid #ddd; padding: .2rem .6rem; text-align: left }}
code {{ background: #f4f4f4; padding: 0 .2rem }} nav a {{ margin-right: 1rem }} p {{ white-space: pre-line }}
</style></head><body><h1>{title}</h1>
<p>Send the API key as <code>Authorization: KEY</code>, or with <code>curl -u KEY:</code>. Machines read
<a href="/openapi.json">/openapi.json</a>.</p>
"""


def page(document: Mapping[str, Any]) -> str:
    """All of it, as HTML."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["Others"])[0]
            by_tag.setdefault(tag, []).append("".join(_operation(method, path, operation)))
    links = "".join(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in by_tag)
    sections = "".join(f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>{"".join(found)}' for tag, found in by_tag.items())
    return f"{_HEAD.format(title=escape(document['info']['title']))}<nav>{links}</nav>{sections}</body></html>\n"


def _anchor(tag: str) -> str:
    return escape(tag.replace(" ", "-"))


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3>{escape(method.upper())} {escape(path)}</h3><p>{escape(operation.get('description', ''))}</p>"
    parameters = [
        (each["name"], each["in"], _kind(each.get("schema", {})), _meaning(each))
        for each in operation.get("parameters", ())
    ]
    content = operation.get("requestBody", {}).get("content", {})
    bodies = [
        ("body", name, _kind(each.get("schema", {})), _meaning(operation["requestBody"]))
        for name, each in content.items()
    ]
    yield from _table(("parameter", "in", "is", "means"), [*parameters, *bodies])
    answers = [(status, answer.get("description", "")) for status, answer in operation.get("responses", {}).items()]
    yield from _table(("status", "means"), answers)


def _kind(schema: Mapping[str, Any]) -> str:
    """A type, or the name of one."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if choices:
        return " or ".join(kind for each in choices if (kind := _kind(each)) != "null")
    if schema.get("type") == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _meaning(described: Mapping[str, Any]) -> str:
    schema = described.get("schema", {})
    words = [described.get("description") or schema.get("description", "")]
    words += [f"default {schema['default']}"] if schema.get("default") is not None else []
    words += ["required"] if described.get("required") else []
    return "; ".join(filter(None, words))


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield "<table><tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"
        for row in rows:
            yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        yield "</table>"
