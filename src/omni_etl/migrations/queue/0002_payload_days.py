"""PostgreSQL alone: the lanes' payloads by day of send, so that a day is dropped instead of its rows deleted."""

from alembic import op

revision = "queue_0002"
down_revision = "queue_0001"

# Payloads are compressed already; no attempt to do it again. Many rows of messages die, so vacuum often and at full speed.
STATEMENTS = """
CREATE TABLE queue_payload_days (
    day bigint NOT NULL,
    id bigint NOT NULL,
    header text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (day, id)
) PARTITION BY LIST (day);
ALTER TABLE queue_payload_days ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE queue_payloads ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE queue_messages SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0
);
"""


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for statement in STATEMENTS.split(";\n"):
        if statement.strip():
            op.execute(statement)
