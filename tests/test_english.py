"""Can a stranger read the prose once? Only what can be counted: long sentences, and sentences without a beginning."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LONGEST = 40
"""Words of a sentence."""
OPENERS = ("Of", "As", "What", "Which", "Whose", "Nor")
"""A sentence that begins with one of these and does not ask leaves its reader to look for what it speaks of."""


def prose(text):
    """Yield paragraphs and items of lists, without code, tables, headings, pictures and generated parts."""
    text = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        item = re.match(r"\s*(?:[-*]|\d+\.) ", line)
        equation = line.startswith("    ") and not paragraph
        apart = equation or not line.strip() or line.lstrip().startswith(("|", "#", "![", ">>>"))
        if item or apart:
            if paragraph:
                yield " ".join(paragraph)
            paragraph = [line[item.end() :]] if item else []
        else:
            paragraph.append(line.strip())


def sentences(paragraph):
    """Split a paragraph at full stops, colons, question and exclamation marks before what may begin a sentence."""
    paragraph = re.sub(r"\]\([^)]*\)", "]", paragraph)
    paragraph = re.sub(r"\b(et al|e\.g|i\.e)\.", r"\1", paragraph)
    return re.split(r"(?<=[.!?:])[*_]*\s+(?=[A-Z0-9`*\[('\"])", paragraph)


def begins_badly(sentence):
    words = re.findall(r"[\w']+", sentence)
    return bool(words) and words[0] in OPENERS and not sentence.rstrip("*_ ").endswith("?")


def test_what_is_counted():
    text = "# Of heads\n\nOne two.\nThree `four`: Five\n- Of six. Which?\n\n| Of seven |\n\n```\nOf eight.\n```\n"
    found = [sentence for paragraph in prose(text) for sentence in sentences(paragraph)]
    assert found == ["One two.", "Three `four`:", "Five", "Of six.", "Which?"]
    assert [begins_badly(sentence) for sentence in found] == [False, False, False, True, False]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_sentences_of_a_page(page):
    found = [sentence for paragraph in prose(page.read_text()) for sentence in sentences(paragraph)]
    long = [sentence for sentence in found if len(sentence.split()) > LONGEST]
    assert not long, f"more than {LONGEST} words; end the sentence where a second thought begins"
    bad = [sentence for sentence in found if begins_badly(sentence)]
    assert not bad, f"a sentence begins with one of {OPENERS}; begin with its subject"


FILES = sorted(SOURCE.rglob("*.py"))


def text_of(statement):
    """Return the string that a statement is, or None."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return statement.value.value if isinstance(statement.value.value, str) else None
    return None


def docs_of_fields(tree):
    """Yield the line and the text of every string after an assignment to an attribute of a class."""
    for cls in ast.walk(tree):
        if isinstance(cls, ast.ClassDef):
            for before, after in zip(cls.body, cls.body[1:], strict=False):
                if isinstance(before, ast.Assign | ast.AnnAssign) and text_of(after) is not None:
                    yield after.lineno, text_of(after)


def first_sentences(tree):
    """Yield the line and the first sentence of the docstring of every public module, class and function."""
    for item in ast.walk(tree):
        if isinstance(item, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if getattr(item, "name", "").startswith("_"):
                continue
            first = (ast.get_docstring(item) or "").partition("\n\n")[0].replace("\n", " ")
            yield getattr(item, "lineno", 1), re.match(r"[^.?]*[.?]?", first)[0]


def test_what_is_found_in_source():
    tree = ast.parse('"""Whose?"""\nclass A:\n    """Of a. B."""\n    b: int\n    """Of c"""\n    d = 1\n    """E."""')
    assert list(docs_of_fields(tree)) == [(5, "Of c"), (7, "E.")]
    assert list(first_sentences(tree)) == [(1, "Whose?"), (2, "Of a.")]
    assert [begins_badly(text) for _, text in first_sentences(tree)] == [False, True]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_docstrings_of_a_file(path):
    """Docs of fields are `--help`, and tables show first lines: both are read alone."""
    tree = ast.parse(path.read_text())
    bad = [f"{path}:{line}: {text}" for line, text in first_sentences(tree) if begins_badly(text)]
    assert not bad, f"a docstring begins with one of {OPENERS}"
    fields = [(line, text.strip()) for line, text in docs_of_fields(tree)]
    bad = [f"{path}:{line}: {text}" for line, text in fields if begins_badly(text) or not text.endswith((".", "?"))]
    assert not bad, "the doc of a field is a sentence that ends with a full stop and begins with its subject"
