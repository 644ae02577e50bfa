"""Benchmarks: comparison with other tools, fits, growing data sets, precision and servers."""
