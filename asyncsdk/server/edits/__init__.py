"""Image edits: their fields and rules as the API has them, and pictures that are really painted."""
