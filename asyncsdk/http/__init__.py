"""One request on the wire: what it looks like, how it is sent, what its answer means."""
