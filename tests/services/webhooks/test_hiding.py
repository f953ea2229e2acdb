"""services.webhooks.hiding: what a customer's server echoes holds no secret."""

import base64
from dataclasses import replace

import pytest

from omni_etl.poster import Answer
from omni_etl.services.webhooks.hiding import BYTES_MAX, without_secrets
from omni_etl.webhook import TokenRequest, Webhook

BASIC = base64.b64encode(b"shop:pass word").decode()
PLAIN = Webhook("w", "w", "https://x.test/", frozenset())
BARE = replace(PLAIN, auth_header=f"Basic {BASIC}", auth_token="token-of-ours")
OAUTH = replace(
    PLAIN, auth_header="Bearer abc.def", token_request=TokenRequest("https://t/", {"client_secret": "hush!"})
)


@pytest.mark.parametrize(
    ("webhook", "said", "kept"),
    [
        (BARE, f"Authorization: Basic {BASIC}", "Authorization: ***"),
        (BARE, f"you sent {BASIC} and token-of-ours", "you sent *** and ***"),
        (BARE, "user shop has no pass word", "user shop has no ***"),
        (OAUTH, "Bearer abc.def, or abc.def for hush!", "***, or *** for ***"),
        (PLAIN, "nothing of ours", "nothing of ours"),
        (replace(PLAIN, auth_token="ok"), "it is ok", "it is ok"),
        (replace(PLAIN, auth_header="Basic %%%"), "Basic %%%", "***"),
    ],
)
def test_secrets_are_starred(webhook: Webhook, said: str, kept: str) -> None:
    """As they are sent, and as their owner knows them; what is shorter than a word may stand in any text."""
    assert without_secrets(Answer(400, "400", body=said.encode()), webhook).body.decode() == kept


def test_only_the_beginning_is_looked_at() -> None:
    """An answer may be long; of what is kept none is cut in two."""
    answer = without_secrets(Answer(400, "400", body=b"x" * 60_000), BARE)
    assert len(answer.body) == BYTES_MAX
