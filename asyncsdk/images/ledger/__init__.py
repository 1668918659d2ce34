"""The memory of edits: what was sent, what was paid, what is uncertain."""
