"""Edits on the command line: one picture, or the rows of many job files."""
