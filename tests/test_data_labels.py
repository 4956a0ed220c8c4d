"""Tables of labels in every form, and the sentence where one does not fit."""

import json
from pathlib import Path

import pytest

from equipoise.data.labels import from_file, from_folders, number
from equipoise.errors import InputError

NAMES = ["a/1.png", "a/2.png", "b/3.png"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "filename,label\na/1.png,cat\na/2.png,dog\nb/3.png,cat\n"),
        ("l.csv", "a/1.png,cat\na/2.png,dog\nb/3.png,cat\n"),
        ("l.csv", "\ufefffile;class\n./a/1.png; cat\n1.png;cat\na/2.png;dog\n\nb\\3.png;cat\n"),
        ("l.txt", "1.png cat\n2.png dog\n3.png cat\n"),
        ("l.tsv", "1.png\tcat\n2.png\tdog\n3.png\tcat\n"),
        ("l.json", json.dumps({"a/1.png": "cat", "a/2.png": "dog", "3.png": "cat"})),
        ("l.json", json.dumps({"labels": [["a/1.png", "cat"], ["a/2.png", "dog"], ["b/3.png", "cat"]]})),
    ],
)
def test_tables(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    labels, classes = from_file(NAMES, tmp_path / name)
    assert labels.tolist() == [0, 1, 0] and classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("l.csv", "a/1.png,cat\na/2.png,dog\n", "no label for 1 of 3 images, such as b/3.png"),
        ("l.csv", "1.png,x\n2.png,x\n3.png,x\n", "only one class, 'x'"),
        ("l.csv", "", "no label for 3 of 3"),
        ("l.csv", "a\nb\n", "line 1"),
        ("l.json", "{", "no valid JSON"),
        ("l.json", "[1, 2]", "not pairs"),
        ("l.json", '{"a/1.png": [1, 0]}', "no class"),
        ("l.json", '{"labels": null}', "holds no labels"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=sentence):
        from_file(NAMES, tmp_path / name)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "l.csv", tmp_path / "missing.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            from_file(NAMES, path)


def test_folders() -> None:
    assert from_folders(["t/a/1", "t/a/x/2", "t/b/3"], "s")[1] == ("a", "b")  # the shared folder is no class
    with pytest.raises(InputError, match="no sub-folder"):
        from_folders(["a/1", "2"], "s")
    with pytest.raises(InputError, match="only one class"):
        from_folders(["a/1", "a/2"], "s")


def test_numbers_are_sorted_by_value() -> None:
    labels, classes = number([10, 9, -1, "x"], "s")
    assert classes == ("-1", "9", "10", "x") and labels.tolist() == [2, 1, 0, 3]
