"""Files of JSON lines: looked through before they are sent, and cut at their lines."""
