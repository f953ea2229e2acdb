"""Hose for producers."""


class Hose:
    pass
