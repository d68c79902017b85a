"""The frame of a page, and its style."""

import re
from importlib import resources

from quickstudy.reports import page


def test_a_page_holds_its_style_whole():
    text = page.page("A & B", ["<p>x</p>"])
    style = resources.files("quickstudy.reports").joinpath("page.css").read_text()
    assert f"<style>\n{style}</style>" in text
    assert style.count("{") == style.count("}")
    assert "<title>A &amp; B</title>" in text


def test_every_class_that_pages_use_has_a_style():
    parts = [
        page.tile("", "a", "right"),
        page.tile("", "a", "wrong"),
        page.card("a", "b"),
        page.table(["a"], [[1]], (0,)),
        page.figure("", "a"),
    ]
    used = {name for names in re.findall(r'class="([^"]*)"', "".join(parts)) for name in names.split()}
    assert used
    assert all(re.search(rf"\.{name}\b", page.CSS) for name in used)
