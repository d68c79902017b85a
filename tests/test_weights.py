"""What comes with the library: small, with a card that says how it was made, and as good as the card says."""

import json
import re
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy import shipped
from quickstudy.registry import lookup
from quickstudy_studies.pretrained import digest, markdown

ROOT = Path(__file__).parents[1]
FLOORS = {"drawings": 0.92, "drawings-maml": 0.8, "omniglot-maml": 0.6, "omniglot-protonet": 0.83}
"""Least accuracy on 20 five-way one-shot tasks of glyphs."""


def test_every_learner_is_known_here() -> None:
    assert shipped.names("learner") == sorted(FLOORS)


@pytest.mark.parametrize("name", ["learned-optimizer", *FLOORS])
def test_files_are_small_and_have_a_card_that_names_its_command(name: str) -> None:
    assert (shipped.WEIGHTS / f"{name}.safetensors").stat().st_size < 2**20
    card = (shipped.WEIGHTS / f"{name}.md").read_text()
    assert card.startswith(f"# Model card: {name}\n")
    assert re.search(r"^quickstudy train \S+", card, re.M)
    assert f'"src/quickstudy/weights/{name}.safetensors")' in card
    for part in ("What it is", "How it was made", "Data", "Figures", "Limits"):
        assert f"\n## {part}\n" in card


@pytest.mark.parametrize("name", FLOORS)
def test_the_command_of_a_card_is_what_trained_the_file(name: str) -> None:
    facts = shipped.card(name)
    card = (shipped.WEIGHTS / f"{name}.md").read_text()
    command = re.search(r"^quickstudy train (\S+)(.*?) --run-dir", card, re.M)
    assert command is not None
    usual = lookup("recipe", command[1]).build()
    assert facts["recipe"] == usual.name
    options = dict(re.findall(r"--(\S+) (\S+)", command[2]))
    changed = {key: value for key, value in facts["options"].items() if value != getattr(usual, key)}
    assert {key: float(value) for key, value in options.items()} == changed
    assert f"Batch-norm policy: `{facts['batch_norm']}`" in card
    assert facts["batch_norm"] == qs.pretrained(name).batch_norm
    numbers = sum(each.numel() for each in qs.pretrained(name).parameters())
    assert f"{numbers:,} numbers" in card
    assert all(each.dtype == torch.float32 for each in qs.pretrained(name).parameters())


@pytest.mark.parametrize("name", FLOORS)
def test_new_classes_are_told_apart(name: str, glyph_cache: None) -> None:
    new = qs.datasets.glyphs().split(by="script", seed=0)[2]
    assert qs.evaluate(qs.pretrained(name), qs.tasks.FewShot(new), 20).accuracy > FLOORS[name]


def test_pages_show_what_the_command_found() -> None:
    found = json.loads((ROOT / "docs" / "results" / "pretrained.json").read_text())
    table = markdown(found)
    assert table in (ROOT / "docs" / "guide" / "pretrained.md").read_text()
    for name in FLOORS:
        assert found[name]["sha256"] == digest(name), f"measure {name} again: its file is not what was measured"
        own = "\n".join(line for line in table.splitlines() if line.startswith(("| learner", "|---", f"| {name} |")))
        assert own in (shipped.WEIGHTS / f"{name}.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/guide/pretrained.md"])
def test_the_output_on_a_page_is_what_its_example_prints(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n((?:(?!```).)*)```\n\n```text\n(.*?)```", (ROOT / page).read_text(), re.S)
    assert found is not None
    exec(compile(found[1], "example", "exec"), {})
    assert capsys.readouterr().out == found[2]
