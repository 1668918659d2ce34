"""A file in one request, POST /files: sent, and found again where its response was lost."""
