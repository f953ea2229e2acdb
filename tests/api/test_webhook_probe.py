"""webhook_probe: the target test, as SparkPost makes it and tells of it."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.api.customer import Customer
from tests.api.server import Api

from omni_etl.api.webhook_probe import SHOWN_CHARACTERS_MAX, error_code

LIST = "/api/v1/webhooks"
CERTIFICATE = Path(__file__).parents[1] / "backends" / "localhost.pem"


async def refusal(api: Api, target: str, **more: Any) -> dict[str, Any]:
    """What a create with this target is told."""
    body = {"name": "mine", "target": target, "events": ["delivery"], **more}
    answer = await api.call("POST", LIST, body=body)
    assert answer.status == 400, answer
    assert list(await api.parts.webhooks.all()) == []
    (error,) = answer.body["errors"]
    assert (error["code"], isinstance(error["code"], int)) == (400, True)
    members: dict[str, Any] = error
    return members


async def test_the_test_looks_as_delivery_does(api: Api, customer: Customer) -> None:
    """The empty batch with the webhook's own headers and secrets, under the id that SparkPost gives every test."""
    body = {
        "name": "mine",
        "target": customer.target,
        "events": ["delivery"],
        "custom_headers": {"X-One": "1"},
        "auth_type": "basic",
        "auth_credentials": {"username": "ann", "password": "p:w"},
        "auth_token": "t",
    }
    assert (await api.call("POST", LIST, body=body)).status == 200
    (came,) = customer.posts
    assert came.body == '[{"msys":{}}]'
    sent = {name.lower(): value for name, value in came.headers.items() if name != "Host"}
    assert sent.pop("webhook-signature").startswith("v1,")
    assert sent == {
        "authorization": "Basic YW5uOnA6dw==",
        "connection": "close",
        "content-length": "13",
        "content-type": "application/json",
        "user-agent": "SparkPost",
        "webhook-id": "77c2b630-d712-11e4-9642-efc2723b99c1",
        "webhook-timestamp": str(int(api.clock.now())),
        "x-messagesystems-batch-id": "77c2b630-d712-11e4-9642-efc2723b99c1",
        "x-messagesystems-webhook-token": "t",
        "x-one": "1",
    }


@pytest.mark.parametrize("status", [201, 204, 299])
async def test_any_2xx_will_do(api: Api, customer: Customer, status: int) -> None:
    """As at delivery."""
    customer.answers.append(web.Response(status=status))
    body = {"name": "mine", "target": customer.target, "events": ["delivery"]}
    assert (await api.call("POST", LIST, body=body)).status == 200


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 500, 503])
async def test_another_answer_is_shown(api: Api, customer: Customer, status: int) -> None:
    """Status, headers by lower-case name, body; a redirect is not followed."""
    headers = {"Location": customer.target, "X-Two": "2"}
    customer.answers.append(web.Response(status=status, text="who?", headers=headers))
    error = await refusal(api, customer.target)
    assert error["message"] == f"POST to webhook target URL failed with non-2xx response code {status}"
    assert (error["response"]["status"], error["response"]["body"]) == (status, "who?")
    assert error["response"]["headers"]["x-two"] == "2"
    assert len(customer.posts) == 1


async def test_an_answer_of_any_bytes_is_shown(api: Api) -> None:
    """Headers and bodies that are no text, header names that stand twice, bodies without end: no answer breaks ours."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"msys")
        writer.write(b"HTTP/1.1 500 Oh\r\nX-A: \xff\xfe\r\nx-a: \xc3\xbc\r\n\r\n\xff\x00" + b"x" * 300_000)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    error = await refusal(api, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    server.close()
    assert error["response"]["headers"] == {"x-a": "??, ü"}
    assert error["response"]["body"] == ("\ufffd\x00" + "x" * SHOWN_CHARACTERS_MAX)[:SHOWN_CHARACTERS_MAX]


async def test_nobody_there_has_a_name(api: Api) -> None:
    """Node's, which SparkPost's customers know; there is no response to show."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    error = await refusal(api, f"http://127.0.0.1:{port}/")
    assert error["message"] == "POST to webhook target URL failed with error code ECONNREFUSED"
    assert error["response"] == {}
    assert error["description"].startswith("connect: ")


async def test_an_inner_address_is_refused_and_not_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number or by name: which machine a name of ours means is nobody's business."""

    def resolve(_host: str, port: int, *_more: Any) -> list[Any]:
        return [(2, 1, 6, "", ("10.9.8.7", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for target in ("http://10.9.8.7/", "http://[::ffff:10.9.8.7]/", "http://store.inner/", "https://store.inner:8443/"):
        error = await refusal(api, target)
        assert error["message"] == "POST to webhook target URL failed with error code EACCES"
        assert error["description"] == "refused: not a public address"
        assert "10.9.8.7" not in str({**error, "target": ""})


async def test_a_certificate_that_nobody_vouches_for_has_a_name(api: Api) -> None:
    """The one that people meet most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0, ssl=context)
    error = await refusal(api, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    server.close()
    assert error["message"] == ("POST to webhook target URL failed with error code UNABLE_TO_VERIFY_LEAF_SIGNATURE")


@pytest.mark.parametrize("granted", ["", "null", "[]", "{}", '{"access_token":1}', '{"access_token":"a\\nb"}', '{"access_token":""}'])  # fmt: skip
async def test_a_tokens_server_that_grants_nothing_is_told_so(api: Api, customer: Customer, granted: str) -> None:
    """A token must fit a header; what the server said instead is not shown, for it may hold one."""
    customer.token_answers.append(web.Response(text=granted))
    error = await refusal(api, customer.target, **customer.oauth2)
    assert error["message"] == "POST to webhook tokens URL failed"
    assert (error["response"], "access_token" in error["description"]) == ({}, True)
    assert [each.path for each in customer.posts] == ["/token"]


def test_a_reason_of_an_unknown_kind_has_a_name_too() -> None:
    """It is a text whatever a poster will say one day."""
    assert [error_code(each) for each in ("", "else: x", "timeout after 10 s", "tls: x", "token: 400")] == [
        "EOTHER", "EOTHER", "ETIMEDOUT", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "ETOKEN",
    ]  # fmt: skip
