"""The server's page, at `/`: uploads as they fill up, files, edits, faults and the last requests, live."""

from asyncsdk.server.page.endpoint import PageEndpoint

__all__ = ["PageEndpoint"]
