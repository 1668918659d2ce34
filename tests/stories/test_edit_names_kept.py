"""Pictures of one name, in whatever order they come and come back: each has its own, and none is moved in silence."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncsdk import Client, EditOutcome, ImageEditor
from asyncsdk.cli.edits.leftovers import left_of
from asyncsdk.cli.edits.report import leftovers_in, save_left
from asyncsdk.cli.edits.sources import rows_in
from asyncsdk.server import Fault, LocalServer
from tests.stories.pictures import png

MODEL = "gpt-image-2"


class Scene:
    """A folder of photos and one of results; after each run it holds what is on disk against what was reported."""

    def __init__(self, folder: Path, server: LocalServer) -> None:
        self.folder, self.server = folder, server
        self.photos, self.out = folder / "photos", folder / "out"
        self.photos.mkdir()
        self.paid_before = server.edits.edits
        self.known: dict[Path, str] = {}

    def put(self, name: str, seed: int) -> None:
        """A picture; seed 0 is half of one, which is refused before it is sent."""
        path = self.photos / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(seed, (16, 16 + seed)) if seed else png()[:60])

    def jobs(self, *rows: dict[str, Any]) -> str:
        path = self.folder / "jobs.jsonl"
        path.write_text("".join(json.dumps({"model": MODEL, **row}) + "\n" for row in rows))
        return str(path)

    async def run(self, *sources: str, prompt: str = "p", redo: Sequence[str] = ()) -> list[EditOutcome]:
        leftovers = leftovers_in(self.out)
        rows = rows_in(sources, out=self.out, defaults={"prompt": prompt, "model": MODEL})
        async with (
            Client("sk-1", base_url=self.server.url) as client,
            ImageEditor(client).edit_many(rows.edits(), out=self.out, redo=redo) as outcomes,
        ):
            ended = [outcome async for outcome in outcomes]
        left = [left_of(outcome) for outcome in ended if outcome.status not in {"done", "skipped"}]
        for outcome in ended:
            leftovers.note(outcome)
        await save_left(self.out, left, leftovers)
        self.check(ended)
        return ended

    def check(self, ended: list[EditOutcome]) -> None:
        displaced = {digest(path): path for outcome in ended for path in outcome.displaced}
        for path, content in list(self.known.items()):
            if not path.exists() or digest(path) != content:
                assert content in displaced, f"{path} was moved or lost, and nothing was said"
                del self.known[path]
                self.known[displaced[content]] = content
        for outcome in ended:
            assert all(path.exists() for path in outcome.files)
            assert not outcome.is_gone
            self.known |= {path: digest(path) for path in outcome.files}
        on_disk = [path for path in self.out.rglob("*") if path.suffix == ".png"]
        assert len(on_disk) == self.server.edits.edits - self.paid_before


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_of(ended: list[EditOutcome]) -> dict[str, list[str]]:
    return {outcome.id: [path.name for path in outcome.files] for outcome in ended}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


@pytest.fixture
def scene(tmp_path: Path, server: LocalServer) -> Scene:
    return Scene(tmp_path, server)


async def test_two_pictures_of_one_stem_have_names_of_their_own_that_stay(scene: Scene) -> None:
    scene.put("a.jpg", 1)
    scene.put("a.png", 2)
    first = files_of(await scene.run(str(scene.photos)))
    assert first == {"a": ["a.png"], "a-png": ["a-png.png"]}
    scene.put("a.jpeg", 3)  # which comes before both
    assert files_of(await scene.run(str(scene.photos))) == first | {"a-jpeg": ["a-jpeg.png"]}
    (scene.photos / "a.jpg").unlink()
    again = await scene.run(str(scene.photos))
    assert {outcome.status for outcome in again} == {"skipped"}
    assert files_of(again) == {"a-png": ["a-png.png"], "a-jpeg": ["a-jpeg.png"]}


async def test_equal_pictures_of_one_stem_are_two(scene: Scene) -> None:
    for name in ("a.jpg", "a.png"):
        scene.put(name, 1)
    first = files_of(await scene.run(str(scene.photos)))
    assert first == {"a": ["a.png"], "a-png": ["a-png.png"]}
    assert files_of(await scene.run(str(scene.photos))) == first


async def test_a_picture_that_could_not_be_read_does_not_take_the_name_of_another_one_later(scene: Scene) -> None:
    scene.put("a.jpeg", 0)
    scene.put("a.png", 1)
    first = await scene.run(str(scene.photos))
    assert {(outcome.id, outcome.status) for outcome in first} == {("a", "refused"), ("a-png", "done")}
    scene.put("a.jpeg", 2)
    again = await scene.run(str(scene.out / "failed.jsonl"))
    assert files_of(again) == {"a": ["a.png"]}


async def test_a_picture_added_later_that_can_not_be_read_has_another_name_than_the_finished_one(scene: Scene) -> None:
    scene.put("a.png", 1)
    await scene.run(str(scene.photos))
    scene.put("a.jpeg", 0)
    both = await scene.run(str(scene.photos))
    assert {(outcome.id, outcome.status) for outcome in both} == {("a-jpeg", "refused"), ("a", "skipped")}


async def test_rows_of_one_id_have_ids_of_their_own_once_they_are_written_down_as_failed(scene: Scene) -> None:
    for seed, name in enumerate(("x.png", "y.png", "z.png"), 1):
        scene.put(name, seed)
    rows = [{"image": f"photos/{name}.png", "id": "one", "prompt": "p"} for name in "xyz"]
    first = await scene.run(scene.jobs(*rows))
    assert sorted(outcome.status for outcome in first) == ["done", "refused", "refused"]
    fed = await scene.run(str(scene.out / "failed.jsonl"))
    assert {outcome.status for outcome in fed} == {"done"}
    assert not any(outcome.displaced for outcome in fed)
    assert (scene.out / "one.png").exists()


async def test_an_id_that_another_picture_has_names_files_that_are_like_it(scene: Scene) -> None:
    scene.put("x.png", 1)
    scene.put("y.png", 2)
    await scene.run(scene.jobs({"image": "photos/x.png", "id": "one", "prompt": "p"}))
    job = scene.jobs({"image": "photos/y.png", "id": "one", "prompt": "p"})
    [other] = await scene.run(job)
    assert (other.id, other.displaced) == ("one", ())
    assert other.files[0].name.startswith("one-")
    assert [outcome.status for outcome in await scene.run(job)] == ["skipped"]
    [redone] = await scene.run(job, redo=["one"])
    assert (redone.files, len(redone.displaced)) == (other.files, 1)


async def test_its_own_older_picture_makes_way_and_that_is_reported(scene: Scene) -> None:
    scene.put("x.png", 1)
    [first] = await scene.run(scene.jobs({"image": "photos/x.png", "id": "one", "prompt": "p"}))
    [other] = await scene.run(scene.jobs({"image": "photos/x.png", "id": "one", "prompt": "q"}))
    assert other.files == first.files
    [displaced] = other.displaced
    assert displaced.parent == scene.out / ".asyncsdk" / "replaced"
    scene.put("x.png", 2)
    by_name = await scene.run(str(scene.photos / "x.png"))
    scene.put("x.png", 3)
    [exported_again] = await scene.run(str(scene.photos / "x.png"))
    assert (exported_again.files, len(exported_again.displaced)) == (by_name[0].files, 1)


async def test_characters_that_some_file_system_refuses_are_in_the_id_and_not_in_the_name(scene: Scene) -> None:
    for seed, name in enumerate(("Screenshot 21:37.png", "what?.png", "a%3Ab.png", "a:b.png"), 1):
        scene.put(name, seed)
    ended = files_of(await scene.run(str(scene.photos)))
    assert ended == {
        "Screenshot 21:37": ["Screenshot 21%3A37.png"],
        "what?": ["what%3F.png"],
        "a%3Ab": ["a%253Ab.png"],
        "a:b": ["a%3Ab.png"],
    }
    assert {outcome.status for outcome in await scene.run(str(scene.photos))} == {"skipped"}
    [redone] = [each for each in await scene.run(str(scene.photos), redo=["what?"]) if each.status == "done"]
    assert (redone.id, len(redone.displaced)) == ("what?", 1)


async def test_a_name_that_is_not_text_is_no_obstacle(scene: Scene) -> None:
    scene.put("a\udcff.png", 1)
    assert files_of(await scene.run(str(scene.photos))) == {"a\udcff": ["a%FF.png"]}
    scene.put("b\udcff.png", 0)
    await scene.run(str(scene.photos))
    scene.put("b\udcff.png", 2)
    assert files_of(await scene.run(str(scene.out / "failed.jsonl"))) == {"b\udcff": ["b%FF.png"]}


async def test_an_edit_that_failed_under_a_name_does_not_take_it_from_a_finished_picture(scene: Scene) -> None:
    scene.put("x.png", 1)
    await scene.run(scene.jobs({"image": "photos/x.png", "id": "one", "prompt": "p"}))
    too_much = {"error": {"message": "Limit 5, Requested 10", "code": "x"}}
    scene.server.inject(Fault("edit", "answer", status=429, body=too_much))
    [failed] = await scene.run(scene.jobs({"image": "photos/x.png", "id": "one", "prompt": "q"}))
    assert failed.status == "failed"
    [done] = await scene.run(str(scene.out / "failed.jsonl"))
    assert len(done.displaced) == 1
    [first] = await scene.run(scene.jobs({"image": "photos/x.png", "id": "one", "prompt": "p"}))
    assert first.files == done.displaced


NAMES = ("a.jpg", "a.jpeg", "a.png", "A.png", "a-png.png", "a:b.png", "a%3Ab.png", "sub/a.png")
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("run"), st.sampled_from(["p", "q"]), st.just(0)),
    st.tuples(st.just("redo"), st.just("p"), st.just(0)),
    st.tuples(st.just("feed"), st.just("p"), st.just(0)),
    st.tuples(st.just("jobs"), st.sampled_from(["a", "A", "a-png", "one"]), st.integers(1, 3)),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=6, max_size=14))
def test_no_sequence_of_runs_moves_or_loses_a_picture_in_silence(server: LocalServer, steps: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(play(Scene(Path(folder), server), steps))


async def play(scene: Scene, steps: list[Any]) -> None:
    for step, what, seed in steps:
        photos = list(scene.photos.rglob("*.*"))
        failed = scene.out / "failed.jsonl"
        if step == "put":
            scene.put(what, seed)
        elif step == "remove":
            (scene.photos / what).unlink(missing_ok=True)
        elif step == "feed" and failed.exists():
            await scene.run(str(failed))
        elif step == "jobs" and photos:
            pictures = [str(path) for path in sorted(photos)[:seed]]
            await scene.run(scene.jobs(*({"image": path, "id": what, "prompt": "j"} for path in pictures)))
        elif step in {"run", "redo"} and photos:
            redo = ["a", "a-png", "one", "sub/a", "a:b"] if step == "redo" else []
            await scene.run(str(scene.photos), prompt=what, redo=redo)
