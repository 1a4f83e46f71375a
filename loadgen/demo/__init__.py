"""Stories of devices that do not connect, played with real parts so that they can be told, tested and repeated."""
