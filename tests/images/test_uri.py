"""Files on this machine and elsewhere; fsspec's in-memory file system stands for elsewhere."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import fsspec
import pytest

from l1db.errors import InputError
from l1db.images.uri import describe, is_remote, read_bytes, resolve

CONTENT = bytes(range(256)) * 10_000  # more than one piece


@pytest.fixture
def remote() -> str:
    with fsspec.open("memory://bucket/night/image.fits", "wb") as file:
        file.write(CONTENT)
    return "memory://bucket/night/image.fits"


def test_local_and_remote_files_have_the_same_bytes_checksum_and_size(tmp_path: Path, remote: str) -> None:
    local = tmp_path / "image.fits"
    local.write_bytes(CONTENT)
    for uri in (local, str(local), f"file://{local}", remote):
        assert read_bytes(uri) == CONTENT
        assert describe(uri) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def test_a_directory_with_table_and_images_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen red with paths relative to the working directory."""
    (tmp_path / "old" / "images").mkdir(parents=True)
    (tmp_path / "old" / "images" / "d.fits").write_bytes(b"pixels")
    shutil.move(tmp_path / "old", tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    for table in (tmp_path / "new" / "visits.csv", "new/visits.csv"):
        found = resolve("images/d.fits", table)
        assert Path(found).is_absolute()
        assert read_bytes(found) == b"pixels"


@pytest.mark.parametrize(
    ("uri", "table", "found"),
    [
        ("/images/d.fits", "/tables/v.csv", "/images/d.fits"),
        ("../images/d.fits", "/tables/v.csv", "/images/d.fits"),
        ("d.fits ", "/tables/v.csv", "/tables/d.fits"),
        ("s3://bucket/d.fits", "/tables/v.csv", "s3://bucket/d.fits"),
        ("d.fits", "s3://bucket/night/v.csv", "s3://bucket/night/d.fits"),
        ("../d.fits", "s3://bucket/night/v.csv", "s3://bucket/d.fits"),
        ("d.fits", "s3://bucket/v.csv", "s3://bucket/d.fits"),
        ("gs://other/d.fits", "s3://bucket/night/v.csv", "gs://other/d.fits"),
        ("d.fits", "file:///tables/v.csv", "file:///tables/d.fits"),
    ],
)
def test_relative_is_beside_the_table(uri: str, table: str, found: str) -> None:
    assert resolve(uri, table) == found


def test_what_is_remote() -> None:
    assert all(map(is_remote, ("s3://b/x", "memory://x", "simplecache::s3://b/x", "https://host/x")))
    assert not any(map(is_remote, ("/a/b", "a/b", "c:/a", "image:1.fits", "./a::b")))


def test_a_local_path_in_a_remote_table_is_refused() -> None:
    with pytest.raises(InputError, match=r"/d\.fits is a local path"):
        resolve("/d.fits", "s3://bucket/v.csv")


@pytest.mark.parametrize("read", [read_bytes, describe])
@pytest.mark.parametrize("uri", ["{tmp}/none.fits", "{tmp}", "memory://none/x", "nosuchprotocol://x/y"])
def test_what_cannot_be_read_is_refused_in_one_line_that_names_it(tmp_path: Path, read: object, uri: str) -> None:
    uri = uri.format(tmp=tmp_path)
    with pytest.raises(InputError) as refusal:
        read(uri)  # type: ignore[operator]
    assert str(refusal.value).startswith(f"{uri}: ")
    assert "\n" not in str(refusal.value)


def test_without_fsspec_local_files_are_read_and_others_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert read_bytes(tmp_path / "a") == b"a"
    with pytest.raises(InputError, match=r"s3://b/x: cannot be opened: .*fsspec"):
        read_bytes("s3://b/x")
