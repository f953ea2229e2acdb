"""Embedded: `omni up`, and the engines it brings along: Valkey, the store host, the set of roles."""
