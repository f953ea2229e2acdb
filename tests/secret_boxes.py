"""A secret box for whoever keeps webhooks in a test."""

from omni_etl.backends.database.secret_box import SecretBox

BOX = SecretBox([bytes(32)])
