"""`asyncsdk demo`: the main jobs, with no account, each claim checked as it is made."""
