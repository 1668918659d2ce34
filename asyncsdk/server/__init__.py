"""A local server with OpenAI's API for uploads, files, image edits and batches, for tests without an account."""

from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.faults import Fault, faults_from_json
from asyncsdk.server.local import LocalServer, serve
from asyncsdk.server.log import RequestRecord
from asyncsdk.server.objects import StoredFile, StoredUpload
from asyncsdk.server.process import ServerProcess

__all__ = [
    "Fault",
    "LocalServer",
    "RequestRecord",
    "ServerProcess",
    "StoredBatch",
    "StoredFile",
    "StoredUpload",
    "faults_from_json",
    "serve",
]
