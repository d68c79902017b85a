"""Every Python example of README and docs runs, with small numbers in place of long ones."""

import re
import runpy
from pathlib import Path

import pytest

from quickstudy import registry

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SKELETON = ROOT / "src" / "quickstudy" / "cli" / "templates" / "method.py"
PAGES = [ROOT / "README.md", *sorted({*DOCS.rglob("*.md")} - {*DOCS.glob("methods/*.md")})]


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.M | re.S)


def shorten(code):
    """Few steps and few tasks: what is tested is that the example runs, not how well it learns."""
    code = re.sub(r"\bsteps=\d{2,}", "steps=2", code)
    code = re.sub(r'"--(steps|tasks)", "\d{2,}"', r'"--\1", "2"', code)
    code = re.sub(r"\bmeta_batch=\d{2,}", "meta_batch=2", code)
    return re.sub(r"\btasks=\d{3,}", "tasks=4", code)


EXAMPLES = [(f"{page.name}-{number}", block) for page in PAGES for number, block in enumerate(blocks(page))]


@pytest.fixture
def tables():
    """Take out again what an example registers."""
    for kind in registry.HOMES:
        registry.fill(kind)
    kept = {kind: dict(entries) for kind, entries in registry.TABLES.items()}
    yield
    for kind, entries in registry.TABLES.items():
        for name in entries.keys() - kept.get(kind, {}).keys():
            del entries[name]


@pytest.mark.parametrize("code", [block for _, block in EXAMPLES], ids=[name for name, _ in EXAMPLES])
def test_example_runs(code, tables, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(shorten(code), "example", "exec"), {"__name__": "example"})


def test_there_are_examples():
    assert any(name.startswith("README") for name, _ in EXAMPLES)


def test_skeleton_keeps_the_promises(capsys, monkeypatch):
    from quickstudy.registry import TABLES

    monkeypatch.setitem(TABLES, "learner", dict(TABLES["learner"]))
    runpy.run_path(str(SKELETON), run_name="__main__")
    assert "every promise" in capsys.readouterr().out


def test_every_link_between_pages_leads_somewhere():
    for page in [*PAGES, *sorted((ROOT / "docs" / "methods").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_mark_of_a_page_has_what_generates_it():
    generated = runpy.run_path(str(DOCS / "generated.py"))
    found = {
        (str(page.relative_to(ROOT)), mark)
        for page in PAGES
        for mark in re.findall(r"^<!-- ([\w-]+) -->$", page.read_text(), flags=re.M)
    }
    assert found == set(generated["GENERATED"])


def test_a_block_takes_the_place_between_its_marks_alone():
    filled = runpy.run_path(str(DOCS / "generated.py"))["filled"]
    text = "a\n<!-- x -->\nold\nold\n<!-- /x -->\n<!-- y -->\nb\n<!-- /y -->\n"
    assert filled(text, "x", r"new \1") == text.replace("old\nold", r"new \1")
    with pytest.raises(ValueError, match="not one place for 'z', but 0"):
        filled(text, "z", "")


def test_a_page_names_the_recipes_of_its_learner():
    page = (DOCS / "methods" / "MAML.md").read_text()
    assert "quickstudy train omniglot-maml\n" in page
    assert "quickstudy train omniglot-fomaml\n" not in page


def test_the_small_tables_of_the_results_fit_on_a_page():
    assert len((DOCS / "results.md").read_text().splitlines()) < 100
