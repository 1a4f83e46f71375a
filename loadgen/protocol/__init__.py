"""The device handshake of Particle P1 as pure state machines: no I/O, no clock, no crypto, no randomness."""
