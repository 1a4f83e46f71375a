"""RSA and AES of both sides, as requests that are answered in batches."""
