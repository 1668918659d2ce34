"""A file in parts, by the Uploads API: created, sent in parallel, completed."""
