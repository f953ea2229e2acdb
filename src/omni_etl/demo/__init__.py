"""`omni demo`: the whole way of an event shown on one machine, and checked (see `life` for where its events come from)."""
