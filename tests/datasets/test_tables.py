from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import quickstudy.datasets as datasets
from quickstudy.errors import DataError, DataNotFoundError, InputError


def written(folder: Path, text: str | bytes, name: str = "flowers.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_is_read_without_a_word_about_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "width,height,species\n1,2.5,b\n3,4,a\n5,6,b\n")
    data = datasets.table(path)
    assert data.classes == ("a", "b")
    assert data.inputs.tolist() == [[3, 4], [1, 2.5], [5, 6]]
    assert data.inputs.dtype == torch.float32
    assert data.name == "flowers"
    assert data.origin["columns"] == ["width", "height"]


@pytest.mark.parametrize(
    ("text", "name", "inputs", "columns"),
    [
        ("a\tb\tlabel\n1\t2\tx\n3\t4\ty\n", "t.tsv", [[1, 2], [3, 4]], ["a", "b"]),
        ("a;b;label\r\n1;2;x\r\n3;4;y\r\n", "t.csv", [[1, 2], [3, 4]], ["a", "b"]),
        ("\ufeffa,label\n1,x\n\n3,y\n", "t.csv", [[1], [3]], ["a"]),
        ('"a, b",label\n"1",x\n" 3 ",y\n', "t.csv", [[1], [3]], ["a, b"]),
        ("a,ok,label\n1,TRUE,x\n3,false,y\n", "t.csv", [[1, 1], [3, 0]], ["a", "ok"]),
        ("colour,label\nred,x\nblue,x\nred,x\n", "t.csv", [[0, 1], [1, 0], [0, 1]], ["colour=blue", "colour=red"]),
        ("id,a,label\n1,7,x\n2,8,y\n", "t.csv", [[7], [8]], ["a"]),
        (",a,label\n0,7,x\n1,8,y\n", "t.csv", [[7], [8]], ["a"]),
        ("a,Target\n7,0\n8,1\n", "t.csv", [[7], [8]], ["a"]),
    ],
)
def test_kinds_of_text(tmp_path: Path, text: str, name: str, inputs: list[Any], columns: list[str]) -> None:
    data = datasets.table(written(tmp_path, text, name))
    assert data.inputs.tolist() == inputs
    assert data.origin["columns"] == columns
    other = datasets.table(written(tmp_path, text.encode("utf-16"), name)) if not text.startswith("\ufeff") else data
    assert other.fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a,b\n1,2\n3,4\n", {}, "which column of .* is the label"),
        ("a,p,q,b\n1,x,u,2\n3,x,u,4\n5,y,v,4\n", {}, "which column of .* is the label"),
        ("1,2\n3,4\n", {}, "names of the columns"),
        ("a,a\n1,2\n", {}, "column 2 of .* has the name 'a' again"),
        ("a,b,y\n1,2\n", {}, "line 2 of .* has 2 cells and the header 3"),
        ('a,y\n1,"x\n', {}, "line 2 of .* mend its quotes"),
        ("", {}, "is empty"),
        ("a,y\n", {}, "no row"),
        ("a,y\n1,x\n", {"label": "z"}, "no column 'z'"),
        ("a,y\n1,x\n", {"inputs": ["y"]}, "not the label"),
        ("a,y\n1,x\n", {"missing": "zero"}, "'refuse', 'mean' or 'drop'"),
        ("a,y\n1,x\n", {"group": "y", "label": "y"}, "both the label and the group"),
        ("a,b,y\n1,,x\n,,y\n", {"inputs": ["a", "b"]}, r"'a' \(1 of 2 rows\), 'b' \(2 of 2 rows\), the first in row 1"),
        ("a,y\n1,\n2,x\n", {"missing": "mean"}, r"'y' \(1 of 2 rows\)"),
        ("a,y\n1.5,x\ninf,y\n", {}, "'a' of .* holds infinity, first in row 1"),
        ("a;y\n1,5;x\n2,5;y\n", {}, "'1,5' among numbers; write decimal points"),
        ("a,y\n1,x\n2,x\n<5,y\n", {}, "'<5' among numbers"),
        ("d,y\n2020-01-01,x\n2020-01-02,x\n", {}, "no column of inputs .* 'd' holds dates"),
        ("d,y\n2020-01-01,x\n2020-01-02,x\n", {"inputs": "d"}, "'d' of .* holds dates"),
        ("a,y\n1\0,x\n", {}, "zero bytes"),
        ("é,y\n1,x\n".encode("latin1"), {}, "UTF-8"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, text: str | bytes, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((DataError, InputError), match=message) as error:
        datasets.table(written(tmp_path, text), **arguments)
    assert "\n" not in str(error.value)


def test_what_is_no_input_is_told(tmp_path: Path) -> None:
    text = "when,name,a,y\n2020-01-01,ann,1,x\n2020-01-02,bob,2,y\n2020-01-03,eve,3,y\n"
    left_out = datasets.table(written(tmp_path, text), "y").origin["left_out"]
    assert left_out == {"when": "holds dates", "name": "has another value in each row"}


def test_missing_values(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,y\n1,red,x\nNA,blue,x\n3,,y\n5,red,y\n")
    assert datasets.table(path, missing="mean").inputs.tolist() == [[1, 0, 1], [3, 1, 0], [3, 0, 0], [5, 0, 1]]
    assert datasets.table(path, missing="drop").inputs.tolist() == [[1, 1], [5, 1]]


def test_whole_numbers_too_large_for_64_bits_stay_apart_as_labels(tmp_path: Path) -> None:
    data = datasets.table(written(tmp_path, f"a,y\n1,{2**70}\n2,{2**70 + 1}\n3,{2**70}\n"))
    assert data.classes == (str(2**70), str(2**70 + 1))


def test_groups_are_of_classes_or_of_rows(tmp_path: Path) -> None:
    text = "a,y,site\n1,x,p\n2,z,q\n3,z,q\n4,w,p\n"
    data = datasets.table(written(tmp_path, text), group="site")
    assert data.attributes == {"group": ("p", "p", "q")}
    assert data.source is None
    assert {part.classes for part in data.split(by="group", fractions=(1, 1))} == {("w", "x"), ("z",)}
    mixed = datasets.table(written(tmp_path, "a,y,site\n1,x,p\n2,z,q\n3,z,p\n"), group="site")
    assert mixed.source is not None
    assert mixed.source.tolist() == [0, 1, 0]


def test_tables_of_scikit_learn() -> None:
    assert datasets.table("wine").classes[0] == "wine:class_0"
    with pytest.raises(InputError, match="did you mean 'wine'"):
        datasets.table("wines")
    with pytest.raises(InputError, match="no other arguments"):
        datasets.table("wine", label="kind")


def test_frame() -> None:
    df = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 0.25, 0.0], "kind": ["x", "y", "x"], "text": ["p", "q", "r"]})
    data = datasets.frame(df, ["a", "b"], "kind")
    assert data.inputs.tolist() == [[1, 0.5], [3, 0], [2, 0.25]]
    assert data.classes == ("x", "y")
    assert datasets.frame(df, "a", "kind").inputs.shape == (3, 1)
    df["image"] = [np.full((2, 2), i) for i in range(3)]
    assert datasets.frame(df, "image", "kind").inputs.shape == (3, 2, 2)
    for inputs, label, message in (
        (["a", "z"], "kind", "no column 'z'"),
        (["text"], "kind", "'text' of the frame holds 3 different words such as 'p', not numbers"),
        ([], "kind", "at least one"),
        (["kind"], "kind", "not the label"),
    ):
        with pytest.raises(InputError, match=message):
            datasets.frame(df, inputs, label)
    with pytest.raises(InputError, match=r"df must be a pandas data frame, not ndarray; for arrays use"):
        datasets.frame(df.to_numpy(), ["a"], "kind")  # type: ignore[arg-type]
    mixed = df.assign(sure=[True, False, True], count=pd.array([4, 5, 6], dtype="Int64"))
    assert datasets.frame(mixed, ["b", "sure", "count"], "kind").inputs.tolist() == [
        [0.5, 1, 4],
        [0, 1, 6],
        [0.25, 0, 5],
    ]
    assert datasets.frame(mixed, ["a", "count"], "kind").inputs.dtype == torch.int64
    df.loc[1, "b"] = np.nan
    with pytest.raises(InputError, match=r"missing values in 'b' \(1 of 3 rows\), the first in row 1"):
        datasets.frame(df, ["a", "b"], "kind")
    assert datasets.frame(df, ["a"], "kind", missing="mean").inputs.shape == (3, 1)


def test_a_frame_without_a_word_about_its_columns() -> None:
    df = pd.DataFrame({"a": [1, 2, 3], "kind": pd.Categorical(["x", "y", "x"]), "sure": pd.array([True, False, True])})
    data = datasets.frame(df)
    assert data.classes == ("x", "y")
    assert data.inputs.tolist() == [[1, 1], [3, 1], [2, 0]]


@pytest.mark.parametrize(
    ("df", "message"),
    [
        (pd.DataFrame([[1.0, 2.0, "x"]], columns=["v", "v", "kind"]), "two columns 'v'"),
        (pd.DataFrame([[1.0, "x"]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "kind")])), "several levels"),
        (pd.DataFrame({"v": [], "kind": []}), "no rows"),
        (pd.DataFrame({"v": [1, pd.NA], "kind": ["x", "y"]}, dtype=object), "missing values in 'v'"),
        (pd.DataFrame({"v": pd.to_datetime(["2020-01-01"]), "kind": ["x"]}), "holds dates"),
        (pd.DataFrame({"v": [1 + 2j], "kind": ["x"]}), "'v' of the frame holds"),
        (pd.DataFrame({"v": pd.to_timedelta(["1 day"]), "kind": ["x"]}), "'v' of the frame holds"),
        (pd.DataFrame({"v": [{"a": 1}], "kind": ["x"]}), "'v'"),
    ],
)
def test_odd_frames_are_refused(df: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        datasets.frame(df, ["v"], "kind")


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    df = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, None, 1.5], "c": ["u", "v", "u"], "label": ["x", "y", "x"]})
    path = tmp_path / "t.parquet"
    df.to_parquet(path)
    data = datasets.table(path, missing="mean")
    assert data.origin["columns"] == ["a", "b", "c=u", "c=v"]
    assert data.inputs.tolist() == [[1, 0.5, 1, 0], [3, 1.5, 1, 0], [2, 1, 0, 1]]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="Parquet"):
        datasets.table(path)


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match="pip install pyarrow"):
        datasets.table(written(tmp_path, "PAR1", "t.parquet"))


class TestRead:
    def test_one_door_for_folders_and_files(self, tmp_path: Path) -> None:
        from PIL import Image

        for kind in ("cat", "dog"):
            (tmp_path / "pets" / kind).mkdir(parents=True)
            Image.new("L", (6, 6), len(kind)).save(tmp_path / "pets" / kind / "1.png")
        pets = datasets.read(tmp_path / "pets", size=(4, 4), channels=1)
        assert pets.inputs.shape == (2, 1, 4, 4)
        flowers = datasets.read(written(tmp_path, "a,y\n1,x\n2,z\n"))
        for data in (pets, flowers):
            origin = json.loads(json.dumps(data.origin))
            assert datasets.read_again(origin).fingerprint == data.fingerprint
        assert pets.origin["arguments"] == {"size": [4, 4], "channels": 1}
        assert pets.subset(["cat"]).origin == pets.origin

    def test_data_that_changed_are_noticed(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a,y\n1,x\n2,z\n")
        origin = datasets.read(path).origin
        written(tmp_path, "a,y\n1,x\n3,z\n")
        with pytest.raises(DataError, match="holds other data"):
            datasets.read_again(origin)
        path.unlink()
        with pytest.raises(DataNotFoundError, match="no folder or file"):
            datasets.read_again(origin)
        with pytest.raises(InputError, match=r"datasets\.read"):
            datasets.read_again({})

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("a.png", {}, "is one image"),
            ("a.npz", {}, r"use datasets\.arrays"),
            ("a.xlsx", {}, "save the table as CSV"),
            ("a.csv", {"size": 3}, "no size"),
            ("a.zip", {"label": "y"}, "no label"),
            ("a.bin", {}, "is not a readable zip or tar"),
        ],
    )
    def test_what_it_is_not_for(self, tmp_path: Path, name: str, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises((DataError, InputError), match=message):
            datasets.read(written(tmp_path, "a,y\n1,x\n", name), **arguments)
