"""docs_page: the API can be read by people and machines, without the rest of the internet."""

import re

from tests.api.server import Api

from omni_etl.api.docs_page import page

NOBODY = {"Authorization": ""}


async def test_the_page_names_every_call_and_loads_nothing(api: Api) -> None:
    """No key, no script, no address but our own."""
    answer = await api.call("GET", "/docs", headers=NOBODY)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    document = (await api.call("GET", "/openapi.json", headers=NOBODY)).body
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<h3>{method.upper()} {path}</h3>" in answer.body
    assert "<script" not in answer.body
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', answer.body)) == {"/openapi.json"}


async def test_the_document_says_what_the_api_answers(api: Api) -> None:
    """The key that is needed, and refusals with their shape; FastAPI's own 422 is never answered, so it is not there."""
    document = (await api.call("GET", "/openapi.json", headers=NOBODY)).body
    for path, operations in document["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            assert answers.get("422", {}).get("description") != "Validation Error", path
            if "security" in operation:
                assert {"400", "401", "403", "413", "429", "503"} <= set(answers), path
                assert answers["401"]["content"]["application/json"]["schema"]["required"] == ["errors"]
    assert document["paths"]["/api/v1/status"]["get"]["security"] == [{"key": []}]
    assert "security" not in document["paths"]["/health"]["get"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_words_are_no_markup() -> None:
    """Whatever a description holds."""
    operation = {"description": "<b>", "parameters": [{"name": "<i>", "in": "query", "schema": {"type": "string"}}]}
    made = page({"info": {"title": "<t>"}, "paths": {"/<p>": {"get": {"tags": ["<g>"], **operation}}}})
    assert not re.search("<[bitg]>", made)
    assert made.count("<p>") == 2
    assert all(f"&lt;{letter}&gt;" in made for letter in "bitgp")
