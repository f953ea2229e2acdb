"""The benchmark: `make bench`, or one row alone with `python -m bench.end_to_end` and its like. `docs/BENCHMARK.md` shows it."""
