"""Migrate: bring the schema of one part up to this program, in the caller's transaction. Each part has its history."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final, Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from omni_etl.errors import SettingsError

Part = Literal["control", "outbox", "queue"]

SCRIPTS: Final = Path(__file__).parents[2] / "migrations"
_alembic: Final = threading.Lock()  # alembic keeps what it works on in module globals


def migrate(connection: Connection, part: Part, *, place: str) -> None:
    """Apply what is missing; all of it or nothing, as the caller commits or not.

    Raises:
        SettingsError: the schema is newer than this program.

    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("version_locations", str(SCRIPTS / part).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, version_table=version_table(part))
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    stands = set(revisions(connection, part))
    if not stands <= known:
        found = f"schema {', '.join(sorted(stands - known))} in {place}"
        newest = scripts.get_current_head()
        raise SettingsError(
            setting_name(part), found, f"This program knows up to {newest}: install a newer one, or name another place."
        )
    if stands != set(scripts.get_heads()):
        with _alembic:
            command.upgrade(config, "head")


def revisions(connection: Connection, part: Part) -> tuple[str, ...]:
    """What was applied; empty in a new file."""
    return MigrationContext.configure(connection, opts={"version_table": version_table(part)}).get_current_heads()


def version_table(part: Part) -> str:
    """Where alembic notes what was applied; the parts may share one PostgreSQL database."""
    return f"{part}_schema_version"


def setting_name(part: Part) -> str:
    """The setting that says where this part is."""
    return "OMNI_QUEUE_URL" if part == "queue" else "OMNI_DATABASE_URL"
