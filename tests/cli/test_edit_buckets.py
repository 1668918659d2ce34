"""`edit-many` from a bucket into a bucket, and what else takes URLs: job files, the gallery, `files content`."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin
from uuid import uuid4

import pytest

from asyncsdk import RemoteError
from asyncsdk.cli import saving
from asyncsdk.cli.edits.job_file import beside_job_file
from asyncsdk.cli.edits.remote_sources import tame
from asyncsdk.remote import writing
from asyncsdk.remote.address import RemoteAddress, remote_address
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.server import Fault, LocalServer
from tests.buckets import Bucket
from tests.cli.support import Run
from tests.stories.pictures import mask, png

EDIT = ("--prompt", "a beret", "--model", "gpt-image-2")


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(f"memory://{uuid4().hex}", RemoteStores())


def hole() -> bytes:
    """A mask for small pictures."""
    return mask(Path("mask-of-these-tests.png"), (2, 2, 8, 8), (16, 16)).read_bytes()


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - as the parser
        self.found += [value for name, value in attrs if name in {"src", "href"} and value and value != "data:,"]


def test_a_prefix_is_edited_into_another_with_a_gallery_that_opens_there(
    run: Run, server: LocalServer, bucket: Bucket
) -> None:
    names = ["a.png", "a.jpg", "deep/b c#%.png", "deep/ä.png"]
    for number, name in enumerate(names):
        bucket.put(f"in/{name}", png(number))
    bucket.put("in/notes.txt", b"x")
    bucket.put("in/.hidden/c.png", png(9))
    bucket.put("in/deep/", b"")
    page = f"{bucket.url}/out/index.html"
    command = ("edit-many", f"{bucket.url}/in/", *EDIT, "--out", f"{bucket.url}/out/", "--ledger", "ledger")
    ran = run(*command, "--gallery", page)
    assert ran.code == 0, ran.err
    assert f"a: {bucket.url}/out/a.png" in ran.out
    assert "notes.txt" in ran.err
    assert "Skipped: 1 hidden" in ran.err
    assert f"Gallery: {page}" in ran.err
    made = [name for name in bucket.names("out") if name.endswith(".png")]
    assert len(made) == 4
    assert "out/.asyncsdk/probe" not in bucket.names("out")
    html = bucket.get("out/index.html").decode()
    linked = {unquote(urljoin("http://x/out/index.html", link)).removeprefix("http://x/") for link in Links(html).found}
    assert linked == {*made, *(f"in/{name}" for name in names)}
    assert str(Path.cwd()) not in html
    assert "file:///" not in html
    again = run(*command, "--gallery", page)
    assert (again.code, server.edits.edits) == (0, 4)
    assert "4 done before." in again.err
    assert not Path("memory:").exists()


def test_another_object_in_the_place_of_a_picture_is_edited_and_the_same_one_put_again_is_not(
    run: Run, server: LocalServer, bucket: Bucket, database_url: str
) -> None:
    bucket.put("in/a.png", png(1))
    bucket.put("in/b.png", png(2))
    command = ("edit-many", f"{bucket.url}/in/", *EDIT, "--out", f"{bucket.url}/out/", "--ledger", database_url)
    assert run(*command).code == 0
    bucket.put("in/a.png", png(1))
    again = run(*command)
    assert (again.code, server.edits.edits) == (0, 2)
    assert "2 done before." in again.err
    bucket.put("in/b.png", png(3))
    assert run(*command).code == 0
    assert (server.edits.edits, "out/b~2.png" in bucket.names("out")) == (3, True)


def test_results_within_the_sources_prefix_are_not_edited_again(run: Run, server: LocalServer, bucket: Bucket) -> None:
    bucket.put("a.png", png(1))
    command = ("edit-many", bucket.url, *EDIT, "--out", f"{bucket.url}/out/", "--ledger", "ledger")
    assert run(*command).code == 0
    assert run(*command).code == 0
    assert server.edits.edits == 1
    same = ("edit-many", f"{bucket.url}/out/", *EDIT, "--out", f"{bucket.url}/out/", "--ledger", "ledger")
    ran = run(*same)
    assert ran.code == 2
    assert "every SOURCE is in --out" in ran.err


def test_a_job_file_in_a_bucket_names_pictures_beside_it_and_elsewhere(
    run: Run, server: LocalServer, bucket: Bucket
) -> None:
    bucket.put("jobs/one.png", png(1))
    bucket.put("two.png", png(2))
    bucket.put("mask.png", hole())
    rows = f"image,prompt,mask\none.png,x,../mask.png\n{bucket.url}/two.png,y,\n..\\two.png,z,\n/etc/passwd,q,\n"
    url = bucket.put("jobs/jobs.csv", rows.encode())
    ran = run("edit-many", url, "--model", "gpt-image-2", "--out", "out", "--json")
    assert [record["status"] for record in ran.records].count("done") == 3
    assert f"error: {url}:5: '/etc/passwd' is not relative to the job file" in ran.err
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["2.png", "3.png", "4.png"]


def test_a_local_job_file_may_name_urls(run: Run, bucket: Bucket) -> None:
    url = bucket.put("one.png", png(1))
    Path("jobs.jsonl").write_text(json.dumps({"image": url, "prompt": "x", "model": "gpt-image-2", "id": "a"}))
    assert run("edit-many", "jobs.jsonl", "--out", "out").code == 0
    bucket.delete("one.png")
    Path("jobs.jsonl").write_text(json.dumps({"image": url, "prompt": "y", "model": "gpt-image-2", "id": "b"}))
    ran = run("edit-many", "jobs.jsonl", "--out", "out")
    assert ran.code == 2
    assert f"b: refused: image: {url} does not exist" in ran.err
    [left] = map(json.loads, Path("out/failed.jsonl").read_text().splitlines())
    assert left["image"] == url


@pytest.mark.parametrize("source", [".", "**/*.png"])
def test_pictures_that_wait_for_their_bucket_are_not_edited(
    run: Run, server: LocalServer, bucket: Bucket, source: str
) -> None:
    waiting = Path("ledger/undelivered/elsewhere/b.png")
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(png(2))
    Path("a.png").write_bytes(png(1))
    ran = run("edit-many", source, *EDIT, "--out", f"{bucket.url}/out", "--ledger", "ledger")
    assert (ran.code, server.edits.edits, bucket.names("out")) == (0, 1, ["out/a.png"])
    assert waiting.read_bytes() == png(2)


def test_what_could_not_be_put_is_said_with_its_place_and_put_there_by_the_same_command(
    run: Run, server: LocalServer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.png", png(1))
    bucket.put("in/b.png", png(2))
    put = writing.put

    async def putting(address: RemoteAddress, *arguments: Any, **options: Any) -> str | None:
        if address.path == "out/a.png":
            raise RemoteError(f"{address.store} can't be reached.", url=address.shown, reason="unreachable")
        return await put(address, *arguments, **options)

    command = ("edit-many", f"{bucket.url}/in/", *EDIT, "--out", f"{bucket.url}/out", "--ledger", "ledger", "-c", "1")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "put", putting)
        ran = run(*command, "--json")
    assert ran.code == 3
    [record] = ran.records
    assert record["files"] == [str(Path("ledger/undelivered", quote(f"{bucket.url}/out", safe=""), "a.png"))]
    assert record["error"]["code"] == "not_delivered"
    assert "1 paid and not in the bucket yet. Details: ledger/failed.jsonl" in ran.err
    assert "1 not sent: the same command goes on." in ran.err
    assert "the same command puts the pictures there, and pays nothing for it." in ran.err
    again = run(*command)
    assert again.code == 0, again.err
    assert f"1 picture of an earlier run, which is paid, was put in {bucket.url}/out now" in again.err
    assert "1 done, 1 done before." in again.err
    assert bucket.names("out") == ["out/a.png", "out/b.png"]
    assert not Path("ledger/failed.jsonl").exists()
    assert server.edits.edits == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--out", "B/out/"), "--out memory://.*/out/ is a URL, and the ledger.*add --ledger DIR"),
        (("--out", "B/out/", "--ledger", "l", "--gallery", "page.html"), r"--gallery page.html: a page on a disk"),
        (("--out", "out", "--gallery", "B/page.html"), "it shows the pictures of --out, which are on this machine"),
        (("--out", "B/out/", "--ledger", "l", "--gallery", "s3://x/page.html"), "it has to be in memory://"),
        (("--out", "B/out/", "--ledger", "l", "--gallery", "B/page.txt"), "a gallery is an HTML page"),
        (("--out", "B/out/", "--ledger", "l", "--gallery", "B/in/a.html"), "is there already and is not a gallery"),
        (("--out", "B/out/", "--ledger", "B/l"), "the ledger, which remembers what is paid, is kept in a directory of"),
        (("--out", "out", "--ledger", "B/l"), r"this machine, and memory://.*/l is a URL. Give a path"),
        (("--out", "s3:/bucket/out"), r"out='s3:/bucket/out' is a path. Is s3://bucket/out meant\?"),
        (("--out", "https://h/out/", "--ledger", "l"), "no picture can be put on a web server"),
        (("--out", "ftp://h/out/", "--ledger", "l"), "the scheme ftp:// is not known"),
    ],
)
def test_what_makes_no_sense_with_urls_is_refused_before_anything_is_sent(
    run: Run, server: LocalServer, bucket: Bucket, arguments: tuple[str, ...], why: str
) -> None:
    bucket.put("in/a.png", png(1))
    bucket.put("in/a.html", b"mine")
    typed = [argument.replace("B/", f"{bucket.url}/") for argument in arguments]
    ran = run("edit-many", f"{bucket.url}/in/", *EDIT, *typed)
    assert ran.code == 2, ran.err
    assert re.search(why, ran.err), ran.err
    assert "Nothing was sent" in ran.err
    assert server.calls.get("edit", 0) == 0


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("B/nothing/", "contains no picture"),
        ("B/in/jobs.xlsx", "it is a spreadsheet, not a job file"),
        ("B/in/jobs.csv", "does not exist"),
        ("gopher://h/a.png", "the scheme gopher:// is not known"),
    ],
)
def test_a_bad_source_is_refused_before_anything_is_sent(run: Run, bucket: Bucket, source: str, why: str) -> None:
    ran = run("edit-many", source.replace("B/", f"{bucket.url}/"), *EDIT, "--out", "out")
    assert ran.code == 2, ran.err
    assert why in ran.err
    assert "Nothing was sent" in ran.err


def test_without_the_extra_nothing_is_paid_before_it_is_said(
    run: Run, server: LocalServer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.png").write_bytes(png(1))
    jobs = [{"image": image, "prompt": "x", "model": "gpt-image-2"} for image in ("a.png", "s3://bucket/b.png")]
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(job)}\n" for job in jobs))
    monkeypatch.setitem(sys.modules, "obstore", None)
    for source in ("jobs.jsonl", "s3://bucket/in/"):
        ran = run("edit-many", source, *EDIT, "--out", "out")
        assert (ran.code, server.edits.edits) == (2, 0)
        assert "the extra 'remote' is needed" in ran.err
        assert "pip install obstore" in ran.err


def test_the_ledger_of_a_directory_may_be_elsewhere(run: Run, server: LocalServer) -> None:
    Path("a.png").write_bytes(png(1))
    command = ("edit-many", "a.png", *EDIT, "--out", "out", "--ledger", "ledger")
    assert (run(*command).code, run(*command).code, server.edits.edits) == (0, 0, 1)
    assert not Path("out/.asyncsdk").exists()
    assert Path("ledger/ledger").is_dir()


def test_a_dry_run_reads_from_the_bucket_and_writes_nothing(run: Run, server: LocalServer, bucket: Bucket) -> None:
    bucket.put("in/a.png", png(1))
    bucket.put("in/b.png", b"not a picture")
    where = ("--out", f"{bucket.url}/out/", "--ledger", "ledger")
    ran = run("edit-many", f"{bucket.url}/in/", *EDIT, *where, "--dry-run")
    assert ran.code == 3
    assert "b: refused" in ran.err
    assert bucket.names("out") == []
    assert not Path("ledger").exists()


def test_one_picture_is_edited_from_its_url(run: Run, bucket: Bucket) -> None:
    url, overlay = bucket.put("in/otter.png", png(1)), bucket.put("in/mask.png", hole())
    ran = run("edit", url, "--mask", overlay, *EDIT, "--out", "out/")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("out/otter.png")
    ran = run("edit", url, *EDIT, "--out", f"{bucket.url}/out/")
    assert ran.code == 2
    assert "edit-many, which puts pictures in a bucket. Nothing was sent." in ran.err
    ran = run("edit", f"{bucket.url}/in/", *EDIT, "--out", "out/")
    assert ran.code == 2


def test_a_file_of_the_server_is_put_in_a_bucket_in_parts(run: Run, server: LocalServer, bucket: Bucket) -> None:
    content = json.dumps({"x": "y" * 100}).encode() + b"\n"
    path = Path("train.jsonl")
    path.write_bytes(content * 200_000)
    file_id = run("upload", path, "--purpose", "batch", "--check", "none", "--quiet").out.strip()
    ran = run("files", "content", file_id, "--out", f"{bucket.url}/copies/train.jsonl")
    assert ran.code == 0, ran.err
    assert f"saved as {bucket.url}/copies/train.jsonl" in ran.out
    assert bucket.get("copies/train.jsonl") == path.read_bytes()
    ran = run("files", "content", file_id, "--out", f"{bucket.url}/copies/train.jsonl")
    assert ran.code == 2
    assert "already exists" in ran.err
    assert run("files", "content", file_id, "--out", f"{bucket.url}/copies/train.jsonl", "--overwrite").code == 0
    assert run("files", "content", file_id, "--out", f"{bucket.url}/copies/").code == 2
    assert run("files", "content", file_id, "--out", "https://host/a").code == 2


@pytest.mark.parametrize("part", [1 << 20, 8 << 20])  # of more than a part, and of less
def test_an_object_that_comes_meanwhile_is_not_replaced(
    run: Run, server: LocalServer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(writing, "PART", part)
    Path("a.jsonl").write_bytes(b"x" * 3_000_000)
    file_id = run("upload", "a.jsonl", "--purpose", "batch", "--check", "none", "--quiet").out.strip()
    passed = saving.PassingBytes.__anext__

    async def meanwhile(passing: saving.PassingBytes) -> bytes:
        if not passing.size:
            bucket.put("a.jsonl", b"mine")
        return await passed(passing)

    monkeypatch.setattr(saving.PassingBytes, "__anext__", meanwhile)
    ran = run("files", "content", file_id, "--out", f"{bucket.url}/a.jsonl")
    assert ran.code == 1
    assert f"{bucket.url}/a.jsonl is there already, and was not replaced." in ran.err
    assert bucket.get("a.jsonl") == b"mine"
    assert run("files", "content", file_id, "--out", f"{bucket.url}/a.jsonl", "--overwrite").code == 0
    assert bucket.get("a.jsonl") == Path("a.jsonl").read_bytes()


def test_a_command_opens_each_store_once(run: Run, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, used = RemoteStores.open, list[RemoteStores]()

    def remember(stores: RemoteStores, place: RemoteAddress) -> tuple[Any, str]:
        used.append(stores)
        return opened(stores, place)

    bucket.put("in/a.png", png(1))
    monkeypatch.setattr(RemoteStores, "open", remember)
    where = ("--out", f"{bucket.url}/out/", "--ledger", "ledger", "--gallery", f"{bucket.url}/out/index.html")
    for command in (
        ("edit-many", f"{bucket.url}/in/", *EDIT, *where, "--dry-run"),
        ("edit-many", f"{bucket.url}/in/", *EDIT, *where),
        ("edit", f"{bucket.url}/in/a.png", *EDIT, "--out", "out/"),
        ("upload", f"{bucket.url}/in/", "--purpose", "vision"),
    ):
        used.clear()
        assert run(*command).code == 0
        assert len(used) > 1
        assert len(set(map(id, used))) == 1, command


def test_a_download_that_breaks_off_leaves_no_object_and_is_tried_again(
    run: Run, server: LocalServer, bucket: Bucket
) -> None:
    Path("a.jsonl").write_bytes(b"x" * 3_000_000)
    file_id = run("upload", "a.jsonl", "--purpose", "batch", "--check", "none", "--quiet").out.strip()
    server.inject(Fault("files.content", "reset", "answering"))
    ran = run("files", "content", file_id, "--out", f"{bucket.url}/a.jsonl")
    assert ran.code == 0, ran.err
    assert len(bucket.get("a.jsonl")) == 3_000_000


def test_names_of_objects_lead_nowhere_else() -> None:
    assert tame("../a//./b") == "%2E%2E/a/%2E/b"
    jobs = remote_address("s3://bucket/jobs/jobs.csv")
    assert jobs is not None
    assert beside_job_file(jobs, "../../../a ?.png") == "s3://bucket/a%20%3F.png"
    assert beside_job_file(jobs, r"sub\b.png") == "s3://bucket/jobs/sub/b.png"
