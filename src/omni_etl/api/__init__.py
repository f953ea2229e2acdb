"""The HTTP API: webhooks, suppression checks, status. See `app.py`."""

from omni_etl.api.app import ApiParts, api_app

__all__ = ["ApiParts", "api_app"]
