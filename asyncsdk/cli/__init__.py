"""The command line: one file per command, thin callers of the library. Comes with the extra `cli`."""
