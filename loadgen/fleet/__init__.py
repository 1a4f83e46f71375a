"""The devices that take part in a run: their ids and keys, and the files they are kept in."""
