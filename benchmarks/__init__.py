"""Benchmarks: comparison with other tools, the fit, growth, precision and servers."""
