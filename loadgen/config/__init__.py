"""Configuration: scenarios of ``bench.toml``, targets, and the guard that keeps strangers from harm."""
