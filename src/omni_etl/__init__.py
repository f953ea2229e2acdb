"""omni-etl: event → hose → envelope → queue → supervisor → service → tracker → delete.

For producers in Python: `from omni_etl import Hose`.
"""

from omni_etl.client import Hose

__all__ = ["Hose"]
