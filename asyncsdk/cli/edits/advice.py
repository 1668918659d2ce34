"""What a failed edit means for money, and what to do next (pure)."""

from __future__ import annotations

from asyncsdk.errors import (
    APIError,
    AuthenticationError,
    ModerationBlockedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
)
from asyncsdk.images.billing import is_about_model, is_permanent_refusal, may_be_charged

UNPAID = "Nothing was paid."
_OTHER_MODEL = "Choose another --model."


def advice_on(error: Exception) -> str:
    """What to say below the message of `error`; '' where the message itself contains it."""
    if not isinstance(error, APIError) or may_be_charged(error):
        return ""
    return f"{UNPAID} {_next_step(error)}".strip()


def _next_step(error: APIError) -> str:
    status = getattr(error, "status_code", None)
    if error.resumable:
        return "The same command tries again."
    if isinstance(error, QuotaExceededError) or status == 402:
        return "Once the account has credit or a higher limit, the same command sends it."
    if access := access_advice(error):
        return access
    if isinstance(error, RateLimitError):
        return "This edit alone is above the limit: use fewer pictures, or a smaller --n."
    if isinstance(error, ModerationBlockedError):
        return "The same edit would be refused again: change the prompt or the picture."
    if is_about_model(error):
        return _OTHER_MODEL
    if is_permanent_refusal(error):
        return "The same edit would be refused again: change what the server names."
    return "Use a smaller picture." if isinstance(error, PayloadTooLargeError) else ""


def access_advice(error: Exception) -> str:
    """What to do where the key or the account has no access; '' for other errors."""
    if isinstance(error, AuthenticationError):
        return "Set the right key in OPENAI_API_KEY (for Azure in AZURE_OPENAI_API_KEY)."
    if getattr(error, "code", None) == "model_not_found":
        return _OTHER_MODEL
    return "Use another key or another --model." if isinstance(error, PermissionDeniedError) else ""


def stopping_workers(grace: float) -> str:
    """The message after the first signal, where workers send."""
    return (
        f"Stopping: no worker sends anything new. What is in flight there is awaited, up to {grace:g} s. Ctrl-C again "
        "stops waiting; the ledger gets what the workers receive."
    )
