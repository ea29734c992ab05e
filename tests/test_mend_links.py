"""A clone without symbolic links, as Windows and zip downloads leave it, builds all the same."""

import shutil
import subprocess
import sys

import pytest
from shared import ROOT

NAMES = ("_config.yml", "_toc.yml", "notebooks")


@pytest.fixture
def unpacked(tmp_path):
    """The layout with text files in place of links."""
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00-page.ipynb").write_text("{}")
    for name in NAMES[:2]:
        shutil.copy(ROOT / name, tmp_path / name)
    for name in NAMES:
        (tmp_path / "book" / name).write_text(f"../{name}")
    return tmp_path


def mend(root) -> str:
    tool = [sys.executable, ROOT / "tools" / "mend_links.py", root]
    return subprocess.run(tool, check=True, capture_output=True, text=True).stdout


def test_text_files_become_copies(unpacked):
    said = mend(unpacked)
    assert all(f"book/{name} was no link" in said for name in NAMES)
    assert (unpacked / "book" / "_toc.yml").read_bytes() == (ROOT / "_toc.yml").read_bytes()
    assert (unpacked / "book" / "notebooks" / "00-page.ipynb").read_text() == "{}"
    assert mend(unpacked) == ""  # once is enough


def test_what_is_missing_is_made(unpacked):
    (unpacked / "book" / "_config.yml").unlink()
    mend(unpacked)
    assert (unpacked / "book" / "_config.yml").is_file()


def test_links_and_other_files_stay(unpacked):
    (unpacked / "book" / "_config.yml").write_text("title: mine\n")
    (unpacked / "book" / "_toc.yml").unlink()
    (unpacked / "book" / "_toc.yml").symlink_to("../_toc.yml")
    assert "_toc" not in mend(unpacked)
    assert (unpacked / "book" / "_config.yml").read_text() == "title: mine\n" and (
        unpacked / "book" / "_toc.yml"
    ).is_symlink()


def test_this_clone_s_links_are_those_that_are_mended():
    links = {path.name for path in (ROOT / "book").iterdir() if path.is_symlink()}
    assert links <= set(NAMES) and all((ROOT / "book" / name).exists() for name in NAMES)
