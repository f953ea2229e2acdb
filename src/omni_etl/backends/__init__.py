"""The only code that touches the outside: one module or package per product, each held by the suite of its contract."""
