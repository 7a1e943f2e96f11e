"""A run from the inside: the trace of its own scan, and the page of it."""
