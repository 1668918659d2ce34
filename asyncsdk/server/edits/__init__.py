"""Image edits: the API's fields and rules for them, and an editor that really paints pictures."""
