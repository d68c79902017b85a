import json
import os
import unicodedata
import warnings

import pytest
from matplotlib.figure import Figure

from quickstudy.functional.names import composed, for_csv, for_json, for_plot, for_terminal, readable

OBEYED = {
    "title\x1b]0;x\x07": r"title\x1b]0;x\x07",
    "\x1b]52;c;eA==\x1b\\": r"\x1b]52;c;eA==\x1b\\"[:-1],
    "\x1b[2J": r"\x1b[2J",
    "\x9b2J": r"\x9b2J",
    "\x90q\x9c": r"\x90q\x9c",
    "abc\u202ecba": r"abc\u202ecba",
    "\u2066x\u2069": r"\u2066x\u2069",
    "one\ntwo\r\tthree": r"one\ntwo\r\tthree",
    "a\u2028b\x85c": r"a\u2028b\x85c",
    "back\x08\x7f\x00": r"back\x08\x7f\x00",
    os.fsdecode(b"caf\xe9"): r"caf\xe9",
    "half\ud83d": r"half\ud83d",
}


def test_two_spellings_of_one_name_are_equal() -> None:
    for name in ("crème", "naïf", "Ångström", "가"):
        spellings = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
        assert len(spellings) == 2
        assert {composed(spelling) for spelling in spellings} == {unicodedata.normalize("NFC", name)}


@pytest.mark.parametrize(("name", "shown"), OBEYED.items())
def test_a_terminal_is_given_nothing_to_obey(name: str, shown: str) -> None:
    assert for_terminal(name) == shown
    assert for_csv(name) == shown


def test_names_in_any_script_are_shown_as_they_are() -> None:
    for name in ("cat", "crème", "नमस्ते", "می‌خواهم", "猫", "👩‍👧", "[bold]", r"a\x1b"):
        assert for_terminal(name) == name
        assert for_json(name) == name


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1.png", "-1+2", "@SUM(1)", "\t=1", "\r=1", " =1", "'=1", '"=1', "\uff1d1", "-", "+", "\n@x", "-1.png"],
)
def test_a_spreadsheet_is_given_no_formula(name: str) -> None:
    assert for_csv(name) == f"'{for_terminal(name)}"


@pytest.mark.parametrize("name", ["-1", "+2.5", "-.5e-3", "cat", "a=b", "x@y", "3-1"])
def test_numbers_and_plain_names_stay_as_they_are_in_a_spreadsheet(name: str) -> None:
    assert for_csv(name) == name


def test_json_keeps_its_values_and_obeys_nothing() -> None:
    values = [*OBEYED, "👩‍👧", "\U000e0041"]
    text = for_json(json.dumps(values, ensure_ascii=False, indent=2))
    assert json.loads(text) == values
    assert for_terminal(text.replace("\n", "")) == text.replace("\n", "")


def test_a_file_name_that_is_not_utf_8_becomes_text() -> None:
    assert readable(os.fsdecode(b"caf\xe9\n.png")) == "caf\\xe9\n.png"
    readable(os.fsdecode(b"\xff\xfe")).encode()


@pytest.mark.parametrize(
    "name", ["$x^2$", "$", "$a", "$\\frac$", "a\\$b", "_hidden", "\x1b$$", "x" * 300, "50 $ and 5 $"]
)
def test_a_label_is_drawn_as_it_is(name: str) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1], [1], label=for_plot(name))
    (text,) = axes.legend().get_texts()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    drawn, is_formula = text._preprocess_math(text.get_text())
    assert not is_formula
    assert len(drawn) < 60
    assert drawn.strip() == for_terminal(name) or len(name) > 60
