"""Arrays kept by their facts: made once, made again when the facts or the file change, oldest out first."""

import os

import numpy as np

from equipoise.data import kept as keeping
from equipoise.data.kept import kept, kept_clear, kept_list


def test_an_array_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return np.arange(3.0)

    for facts in (("a", 1), ("a", 1), ("a", 2)):
        assert (kept(facts, make, tmp_path) == np.arange(3.0)).all()
    assert len(made) == 2
    assert len(kept_list(tmp_path)) == 2


def test_a_damaged_file_is_made_anew(tmp_path):
    kept(("a",), lambda: np.ones(4), tmp_path)
    file = kept_list(tmp_path)[0]
    file.write_bytes(file.read_bytes()[:-5])
    assert kept(("a",), lambda: np.zeros(4), tmp_path).sum() == 0
    file.write_bytes(b"")
    assert kept(("a",), lambda: np.ones(4), tmp_path).sum() == 4


def test_what_was_used_longest_ago_goes_first(tmp_path, monkeypatch):
    for name in "abc":
        kept((name,), lambda: np.zeros(100), tmp_path)
        os.utime(kept_list(tmp_path)[0], (ord(name), ord(name)))
    kept(("a",), lambda: np.ones(100), tmp_path)  # used again
    monkeypatch.setattr(keeping, "LIMIT", 3 * 1000)
    kept(("d",), lambda: np.zeros(100), tmp_path)
    assert kept(("a",), lambda: np.ones(100), tmp_path).sum() == 0  # still there
    assert kept(("b",), lambda: np.ones(100), tmp_path).sum() == 100  # gone
    assert len(kept_clear(tmp_path)) == 3
    assert kept_list(tmp_path) == []
