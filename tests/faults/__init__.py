"""What must hold whatever fails. `python -m tests.faults` runs the long forms and prints a table."""
