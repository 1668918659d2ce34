"""One request on the wire: how it is encoded, how it is sent, and how its response is decoded."""
