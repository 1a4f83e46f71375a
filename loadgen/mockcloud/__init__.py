"""The mock cloud: worker processes that answer the device handshake on one port, and their parent."""
