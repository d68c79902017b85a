"""The demonstration, with two steps of everything."""

import json

from quickstudy.cli.demo import META_LEARNED, main


def test_demo_trains_compares_and_reports(tmp_path, glyph_cache, capsys):
    assert main(tmp_path, quick=True) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Prototypical network" in page
    assert "Nearest neighbour" in page
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(META_LEARNED) < set(results)
    assert all(0 <= report["mean"] <= 1 for report in results.values())
    assert str(tmp_path) in capsys.readouterr().out.replace("\n", "")


def test_interrupted_demo_goes_on(tmp_path, glyph_cache, capsys):
    main(tmp_path, quick=True)
    before = (tmp_path / "protonet" / "last.safetensors").read_bytes()
    main(tmp_path, quick=True)
    assert (tmp_path / "protonet" / "last.safetensors").read_bytes() == before
