"""What came of an edit: its pictures, what it cost, and where they are saved."""

from __future__ import annotations


class EditResult:
    """The pictures of one edit."""
