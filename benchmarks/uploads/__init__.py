"""Uploads: against peers and the floor, on a slow line, by size and number, many small files. See ../README.md."""
