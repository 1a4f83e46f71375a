"""From raw clock points to histograms: rows, recorder, interval log, and the types of a record."""
