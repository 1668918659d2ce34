"""How fast edits may go: input images a minute, given, or learned from what the server refuses."""
