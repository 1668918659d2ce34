"""`FileFilter`: which of the server's files are meant (pure)."""

from __future__ import annotations

from fnmatch import fnmatchcase

from attrs import frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.models import File


@frozen(kw_only=True)
class FileFilter:
    """The files for which all that is given holds. What the server does not say of a file is not taken to hold.

    Args:
        older_than: Created more than so many seconds ago.
        larger_than: More than so many bytes.
        purpose: For this purpose.
        name: A pattern for the whole name, such as "*.jsonl"; "*" is every file.

    Raises:
        ConfigurationError: Nothing is given, or what makes no sense.
    """

    older_than: float | None = None
    larger_than: int | None = None
    purpose: str | None = None
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.older_than, self.larger_than, self.purpose, self.name) == (None, None, None, None):
            raise ConfigurationError('a FileFilter needs a condition; name="*" is every file. Nothing was sent.')
        given: dict[str, object] = {"older_than": self.older_than, "larger_than": self.larger_than}
        for name, number in given.items():
            if number is not None and not _is_size(number):
                raise ConfigurationError(f"{name} must be a number of 0 or more, not {number!r}. Nothing was sent.")

    def takes(self, file: File, *, now: float) -> bool:
        """Whether a file is meant.

        Args:
            file: As the server lists it.
            now: The server's time, in unix seconds.
        """
        is_old = self.older_than is None or (file.created_at is not None and file.created_at < now - self.older_than)
        is_large = self.larger_than is None or (file.bytes is not None and file.bytes > self.larger_than)
        is_for_it = self.purpose is None or file.purpose == self.purpose
        is_called_so = self.name is None or (file.filename is not None and fnmatchcase(file.filename, self.name))
        return is_old and is_large and is_for_it and is_called_so


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0  # which not a number is not
