"""The command line: its commands run in this process, or in processes of their own."""
