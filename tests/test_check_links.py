"""The link check over the built book finds what is wrong and nothing else."""

import importlib.util

import pytest
from shared import ROOT


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("check_links", ROOT / "tools" / "check_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def site(folder, link: str):
    (folder / "notebooks").mkdir()
    (folder / "_modules").mkdir()
    (folder / "_modules" / "a.html").write_text('<a href="lost.html">source</a>')
    (folder / "intro.html").write_text('<a id="top"></a><a href="#top">up</a><a href="https://example.org/x">there</a>')
    (folder / "notebooks" / "a b.html").write_text(f'<h1 id="ex-1"></h1><a href="{link}">x</a>')
    return folder


@pytest.mark.parametrize(
    "link", ["../intro.html#top", "../intro.html", "a%20b.html#ex-1", "#ex-1", "../intro.html?x=1#top"]
)
def test_right_links_pass(tool, tmp_path, link, capsys):
    assert tool.main([str(site(tmp_path, link))]) == 0
    assert "2 links inside the book, 0 of them wrong" in capsys.readouterr().out


@pytest.mark.parametrize("link", ["../lost.html", "../intro.html#lost", "#lost", "lost.png"])
def test_a_wrong_link_is_told_with_its_page(tool, tmp_path, link, capsys):
    assert tool.main([str(site(tmp_path, link))]) == 1
    assert f"notebooks/a b.html: {link}" in capsys.readouterr().out


def test_without_a_book_it_says_so(tool, tmp_path, capsys):
    assert tool.main([str(tmp_path / "nowhere")]) == 1
    assert "build the book first" in capsys.readouterr().err
