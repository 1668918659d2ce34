"""Thousands of edits in one run, and the ledger that remembers them so that nothing is paid twice."""
