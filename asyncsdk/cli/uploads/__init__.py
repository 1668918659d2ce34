"""Uploads on the command line: sent, shown while they go, and what the journal remembers of them."""
