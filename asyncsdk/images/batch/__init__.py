"""Edits by the Batch API: their lines and files, what comes back, and what it means for each and for the whole."""
