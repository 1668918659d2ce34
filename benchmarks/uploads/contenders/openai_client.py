"""openai-python's client, which trusts the receiver's certificate."""

from __future__ import annotations

import os
import ssl

from openai import AsyncOpenAI, DefaultAsyncHttpxClient


def openai_client() -> AsyncOpenAI:
    trust = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    return AsyncOpenAI(http_client=DefaultAsyncHttpxClient(verify=trust))
