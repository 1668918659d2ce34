"""Batches: the input file is checked line by line, its edits are made over time, and their results become files."""
