"""Webhooks in a database: seen by others at once, their secrets sealed, those of before sealed at the first open."""

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text, update
from tests.backends.database.conftest import away
from tests.secret_boxes import BOX

from omni_etl.backends.database.engine import Database, open_database
from omni_etl.backends.database.secret_box import SecretBox
from omni_etl.backends.database.tables import webhooks as table
from omni_etl.backends.database.webhooks import KNOWN_SECONDS_MAX, DatabaseWebhooks
from omni_etl.clock import ManualClock
from omni_etl.errors import SettingsError, UnavailableError
from omni_etl.webhook import TokenRequest, Webhook, new_signing_secret
from omni_etl.wiring.opened import opened

OTHER = bytes(range(32))
PLAIN = Webhook(id="w", name="w", target="https://x.test/", events=frozenset({"open"}))
SECRET = replace(
    PLAIN,
    auth_header="Bearer hush",
    auth_token="hush-token",
    token_request=TokenRequest("https://token.test/", {"client_secret": "hush-client"}),
    signing_secret=new_signing_secret(),
)


async def rows(control: Database) -> str:
    """The whole table, as whoever copies the file or a backup reads it."""
    async with control.reading() as connection:
        return repr((await connection.execute(text("SELECT * FROM webhooks"))).all())


async def written_before(control: Database, webhook: Webhook) -> None:
    """A row as the program wrote it before there was a box."""
    await DatabaseWebhooks(control, ManualClock(), BOX).put(webhook)
    body = None if webhook.token_request is None else dict(webhook.token_request.body)
    clear = {"auth_header": webhook.auth_header, "auth_token": webhook.auth_token, "token_body": body, "signing": None}
    async with control.writing() as connection:
        await connection.execute(update(table).where(table.c.id == webhook.id).values(clear))


async def test_a_change_is_seen_by_others(control: Database, clock: ManualClock, database_url: str) -> None:
    """The API writes, the webhooks service reads through connections of its own."""
    other = open_database(database_url, "control", clock)
    await other.open("other")
    assert await DatabaseWebhooks(other, clock, BOX).all() == []
    await DatabaseWebhooks(control, clock, BOX).put(PLAIN)
    assert await DatabaseWebhooks(other, clock, BOX).all() == [PLAIN]
    await other.close("other")


async def test_the_list_is_read_again_where_something_changed(
    control: Database, clock: ManualClock, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, whoever changed it and however; else the same list is given, for the price of one row."""
    other_part = open_database(database_url, "control", clock)
    await other_part.open("other")
    kept, other = DatabaseWebhooks(control, clock, BOX), DatabaseWebhooks(other_part, clock, BOX)
    reads, read = 0, control.read

    async def counted(work: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(work)

    monkeypatch.setattr(control, "read", counted)
    await other.put(PLAIN)
    assert await kept.all() == [PLAIN]
    reads = 0
    first = await kept.all()
    assert [await kept.all() is first for _ in range(5)] == [True] * 5
    assert reads == 0
    named = replace(PLAIN, name="other name")
    assert await other.change(PLAIN, named)
    assert await kept.all() == [named]
    rotated = await other.rotate("w", overlap_seconds=0)
    assert await kept.all() == [rotated]
    await other.put(replace(PLAIN, id="x"))
    assert len(await kept.all()) == 2
    await other.delete("w")
    assert [each.id for each in await kept.all()] == ["x"]
    assert reads == 4
    await other_part.close("other")


async def test_a_change_by_an_older_program_is_seen_within_a_second(control: Database, clock: ManualClock) -> None:
    """It moves no version; for as long one may run beside this program's."""
    kept = DatabaseWebhooks(control, clock, BOX)
    await kept.put(PLAIN)
    await kept.all()
    async with control.writing() as connection:
        await connection.execute(update(table).values(name="by hand"))
    clock.advance(KNOWN_SECONDS_MAX)
    assert [each.name for each in await kept.all()] == ["by hand"]


async def test_a_list_that_cannot_be_read_is_no_list(control: Database, clock: ManualClock) -> None:
    """Also where it is known: who matches by it must know that it holds."""
    kept = DatabaseWebhooks(control, clock, BOX)
    await kept.put(PLAIN)
    assert await kept.all() == [PLAIN]
    async with away(control):
        with pytest.raises(UnavailableError):
            await kept.all()


async def test_nothing_secret_lies_in_the_database(control: Database, clock: ManualClock) -> None:
    """However it came there: put, changed, rotated."""
    kept = DatabaseWebhooks(control, clock, BOX)
    await kept.put(SECRET)
    await kept.change(SECRET, replace(SECRET, auth_header="Bearer hush-again", auth_token="hush-else"))
    rotated = await kept.rotate("w", overlap_seconds=60)
    assert rotated is not None
    found = await rows(control)
    assert "https://token.test/" in found
    assert [each for each in ("hush", *rotated.signing_secrets(0), "whsec_") if each in found] == []
    assert await kept.all() == [rotated]


async def test_secrets_cannot_change_rows(control: Database, clock: ManualClock) -> None:
    """Copied to another webhook they do not open, also where the first was opened before; and the error tells none."""
    kept = DatabaseWebhooks(control, clock, BOX)
    for name in ("w", "v"):
        await kept.put(replace(SECRET, id=name))
    await kept.all()
    sealed = select(table.c.auth_header).where(table.c.id == "w").scalar_subquery()
    async with control.writing() as connection:
        await connection.execute(update(table).where(table.c.id == "v").values(auth_header=sealed))
    clock.advance(KNOWN_SECONDS_MAX)  # nobody moved the version
    for asking in (kept.all(), kept.find("v")):
        with pytest.raises(UnavailableError, match="auth_header of webhook v does not open") as refused:
            await asking
        assert "hush" not in str(refused.value)


async def test_rows_of_before_are_read_and_sealed(control: Database, clock: ManualClock) -> None:
    """Read as they stand; the first open gives them a secret that signs, and leaves nothing in clear."""
    await written_before(control, SECRET)
    await written_before(control, replace(PLAIN, id="v"))
    kept = DatabaseWebhooks(control, clock, BOX)
    assert await kept.find("w") == replace(SECRET, signing_secret=None)
    assert "hush" in await rows(control)
    async with opened(kept):
        assert "hush" not in await rows(control)
        found = {each.id: each for each in await kept.all()}
    signing = {name: each.signing_secret for name, each in found.items()}
    assert None not in signing.values()
    assert found["w"] == replace(SECRET, signing_secret=signing["w"])
    assert found["v"] == replace(PLAIN, id="v", signing_secret=signing["v"])


async def test_opening_twice_seals_once(
    control: Database, clock: ManualClock, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows than one transaction takes; two that open at once make one secret for each webhook, a third writes nothing."""
    made: list[str] = []

    def make() -> str:
        made.append(new_signing_secret())
        return made[-1]

    monkeypatch.setattr("omni_etl.backends.database.webhooks.ROWS_MAX", 2)
    monkeypatch.setattr("omni_etl.backends.database.webhooks.new_signing_secret", make)
    for number in range(15):
        await written_before(control, replace(SECRET, id=str(number)))
    other = open_database(database_url, "control", clock)
    await other.open("other")  # migrated already, so that both come to the rows at the same moment
    both = [DatabaseWebhooks(each, clock, BOX) for each in (control, other)]
    await asyncio.gather(*(each.open() for each in both))
    found = await rows(control)
    assert sorted(made) == sorted(str(each.signing_secret) for each in await both[0].all())
    assert await both[0].all() == await both[1].all()
    async with opened(DatabaseWebhooks(control, clock, BOX)):
        assert await rows(control) == found
    for each in both:
        await each.close()
    await other.close("other")


async def test_a_key_is_changed_at_the_next_open(control: Database, clock: ManualClock) -> None:
    """With both everything is read and sealed anew; then the former is needed no more."""
    await DatabaseWebhooks(control, clock, BOX).put(SECRET)
    async with opened(DatabaseWebhooks(control, clock, SecretBox([OTHER, bytes(32)]))) as both:
        assert await both.all() == [SECRET]
    async with opened(DatabaseWebhooks(control, clock, SecretBox([OTHER]))) as new:
        assert await new.all() == [SECRET]


async def test_a_wrong_key_is_refused_at_start(control: Database, clock: ManualClock) -> None:
    """With the setting and what to do; nothing is written. A process that runs hears of it as an outage."""
    await DatabaseWebhooks(control, clock, BOX).put(SECRET)
    before = await rows(control)
    wrong = DatabaseWebhooks(control, clock, SecretBox([OTHER]))
    with pytest.raises(SettingsError, match="OMNI_SECRETS_KEY: found not the key"):
        async with opened(wrong):
            pass
    with pytest.raises(UnavailableError, match="OMNI_SECRETS_KEY"):
        await wrong.all()
    assert await rows(control) == before


async def test_each_rotation_stands(control: Database, clock: ManualClock) -> None:
    """Of several at once none is lost: whoever was told a secret has one that signs; a token renewed beside it stays too."""
    kept = DatabaseWebhooks(control, clock, BOX)
    await kept.put(SECRET)
    renewing = kept.change(SECRET, replace(SECRET, auth_header="Bearer new"))
    told = await asyncio.gather(*(kept.rotate("w", overlap_seconds=60) for _ in range(5)), renewing)
    found = await kept.find("w")
    assert found is not None
    rotated = [each for each in told if isinstance(each, Webhook)]
    secrets = {SECRET.signing_secret, *(each.signing_secret for each in rotated)}
    assert len(secrets) == 6
    assert set(found.signing_secrets(int(clock.now() * 1000))) == secrets
    assert found.auth_header == "Bearer new"


async def test_a_failed_write_tells_no_secret(control: Database, clock: ManualClock) -> None:
    """Errors of the database repeat parameters; ours are sealed by then."""
    kept = DatabaseWebhooks(control, clock, BOX)
    broken = replace(SECRET, name=json)  # type: ignore[arg-type]  # what no column takes
    said = ""
    with suppress(UnavailableError):
        try:
            await kept.put(broken)
        except Exception as error:  # noqa: BLE001 whatever the library raises
            said = repr(error)
    assert said
    assert "hush" not in said
