"""What alembic runs: the caller's connection and transaction, no logging set-up, nothing of its own."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
with context.begin_transaction():
    context.run_migrations()
