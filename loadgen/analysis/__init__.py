"""Judgements over measured values. Pure: no I/O, no clock, no hidden randomness."""
