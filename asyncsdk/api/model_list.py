"""The endpoint of models: retrieve (pure)."""

from __future__ import annotations

from asyncsdk.api.request import Request
from asyncsdk.models import ModelInfo


def retrieve_model(model: str) -> Request[ModelInfo]:
    """GET /models/{model}.

    Args:
        model: Its name, such as `gpt-image-2`.
    """
    return Request(method="GET", route="/models/{model}", response_model=ModelInfo, ids={"model": model})
