"""services.webhooks.signing: what the official package verifies, and nothing else passes."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from omni_etl.services.webhooks.signing import key_of, signature_headers
from omni_etl.webhook import new_signing_secret

Keys = st.binary(min_size=24, max_size=64)


def spelled(key: bytes) -> str:
    """As customers see it."""
    return "whsec_" + base64.b64encode(key).decode()


def test_the_example_of_the_specification() -> None:
    """Its secret, id, time and body give its signature."""
    headers = signature_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        at_seconds=1_614_265_330,
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(keys=st.lists(Keys, min_size=1, max_size=3, unique=True), body=st.text(), other=Keys)
def test_a_receiver_verifies_with_any_secret_that_signs(keys: list[bytes], body: str, other: bytes) -> None:
    """By the official package, any body; another key, another body or another id does not pass."""
    at_seconds = int(datetime.now(UTC).timestamp())
    headers = signature_headers("b1", body.encode(), secrets=[spelled(each) for each in keys], at_seconds=at_seconds)
    for key in keys:
        verifier = Verifier(spelled(key))
        verifier.verify(body.encode(), headers, json_parse=False)
        for changed in ({"webhook-id": "b2"}, {"webhook-timestamp": str(at_seconds - 1)}):
            with pytest.raises(WebhookVerificationError):
                verifier.verify(body.encode(), headers | changed, json_parse=False)
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body.encode() + b" ", headers, json_parse=False)
    if other not in keys:
        with pytest.raises(WebhookVerificationError):
            Verifier(spelled(other)).verify(body.encode(), headers, json_parse=False)


def test_without_a_secret_nothing_is_signed() -> None:
    """No empty header that looks like one."""
    assert signature_headers("b1", b"[]", secrets=[], at_seconds=1) == {}


def test_a_new_secret_is_one() -> None:
    """256 bits, another each time."""
    first, second = new_signing_secret(), new_signing_secret()
    assert len(key_of(first)) == len(key_of(second)) == 32
    assert first != second


@pytest.mark.parametrize(
    "secret", ["", "hunter2", "whsec_", "whsec_hunter2", spelled(bytes(23)), spelled(bytes(65)), spelled(bytes(24))[6:]]
)
def test_what_is_no_secret_is_refused(secret: str) -> None:
    """In words that do not repeat it."""
    with pytest.raises(ValueError, match="not a signing secret") as refused:
        key_of(secret)
    assert "hunter2" not in str(refused.value)
