"""Services: the four consumers of every envelope. `service.py` is their contract."""
