"""Editing images: one at a time, streamed, or thousands, within rate limits and without paying twice."""
