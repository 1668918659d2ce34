"""The embedded server: its rules, its disk, its faults."""
