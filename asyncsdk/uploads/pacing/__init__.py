"""How many requests go at once, and how fast: connections, their number, turns, a limit of the rate."""
