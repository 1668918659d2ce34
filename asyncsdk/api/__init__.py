"""One function per endpoint: arguments to a `Request`, a value; what the caller did not set is not sent (pure).

Fields and paths as in OpenAI's document (openapi.yaml) and openai-python's types.
"""

from asyncsdk.api.batches import (
    BatchEndpoint,
    CompletionWindow,
    cancel_batch,
    create_batch,
    list_batches,
    retrieve_batch,
)
from asyncsdk.api.files import create_file, delete_file, file_content, list_files, retrieve_file
from asyncsdk.api.images import (
    EDIT_SECONDS,
    Background,
    Complexity,
    EditParams,
    ImageFile,
    ImageRef,
    InputFidelity,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
    edit_image,
    edit_image_by_reference,
)
from asyncsdk.api.model_list import retrieve_model
from asyncsdk.api.request import (
    AT_URL,
    URL_ROUTE,
    BodyFactory,
    FileBodyFactory,
    FormFile,
    FormFrame,
    Purpose,
    Request,
    RequestBody,
    StreamedFile,
)
from asyncsdk.api.uploads import add_upload_part, cancel_upload, complete_upload, create_upload

__all__ = [
    "AT_URL",
    "EDIT_SECONDS",
    "URL_ROUTE",
    "Background",
    "BatchEndpoint",
    "BodyFactory",
    "CompletionWindow",
    "Complexity",
    "EditParams",
    "FileBodyFactory",
    "FormFile",
    "FormFrame",
    "ImageFile",
    "ImageRef",
    "InputFidelity",
    "Moderation",
    "OutputFormat",
    "Purpose",
    "Quality",
    "Request",
    "RequestBody",
    "ResponseFormat",
    "StreamedFile",
    "add_upload_part",
    "cancel_batch",
    "cancel_upload",
    "complete_upload",
    "create_batch",
    "create_file",
    "create_upload",
    "delete_file",
    "edit_image",
    "edit_image_by_reference",
    "file_content",
    "list_batches",
    "list_files",
    "retrieve_batch",
    "retrieve_file",
    "retrieve_model",
]
