"""Benchmarks: run by hand, side by side with what they compare to; never part of the test suite."""
