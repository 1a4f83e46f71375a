"""Third-party clouds: real programs that virtual devices talk to."""
