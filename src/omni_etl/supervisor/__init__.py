"""The parent process and its children. See `loop.py`."""
