"""What the server's list of files says, asked once for all that want to know."""
