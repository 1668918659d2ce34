"""Programs that upload one file, each run as a process of its own and measured from outside."""
