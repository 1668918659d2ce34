"""What the long form with a server that differs leaves out is there, so that no name in its list is stale."""

from __future__ import annotations

from pathlib import Path

from tests.stories.differing import LEFT_OUT, why_left_out


def test_each_story_that_is_left_out_exists() -> None:
    modules = {path.stem: path.read_text() for path in Path(__file__).parent.glob("test_upload_*.py")}
    for reasons in LEFT_OUT.values():
        for name in (name for names in reasons.values() for name in names):
            assert name in modules or any(f"def {name}(" in text for text in modules.values()), name


def test_only_a_server_that_differs_leaves_any_out() -> None:
    assert why_left_out("test_upload_adapting", "test_x", {}) is None
    assert why_left_out("test_upload_adapting", "test_x", {"ignore_md5": True}) is None
    assert why_left_out("test_upload_adapting", "test_x", {"parts_in_order": True}) is not None
