"""Edits by the Batch API: their lines and files, what comes back, and what it means. What drives it is not here yet."""
