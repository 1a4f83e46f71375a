"""The native kernel against plain integers and OpenSSL."""
