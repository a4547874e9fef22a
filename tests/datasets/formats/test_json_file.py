import math

import pytest

from kdyolo.datasets.formats import json_file
from kdyolo.datasets.formats.json_file import as_number, head_of, load_json
from kdyolo.errors import DatasetError


def test_objects_are_slimmed_as_they_are_read(tmp_path):
    (tmp_path / "a.json").write_text('[{"keep": 1, "mask": [1, 2]}, {"deep": {"mask": 3}}]')

    def slim(item):
        item.pop("mask", None)
        return item

    assert load_json(tmp_path / "a.json", slim) == [{"keep": 1}, {"deep": {}}]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "no valid json"),
        (b"", "no valid json"),
        (b'"\xff"', "not UTF-8"),
        ('"ü"'.encode("utf-16"), "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"1" * 5000, "no valid json"),
    ],
)
def test_what_is_no_json(tmp_path, content, told):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DatasetError, match=told):
        load_json(tmp_path / "a.json")


def test_limits(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("[[],{},[]]")
    assert load_json(tmp_path / "a.json") == [[], {}, []]
    monkeypatch.setattr(json_file, "MAX_CONTAINERS", 3)
    with pytest.raises(DatasetError, match="more than 3 lists"):
        load_json(tmp_path / "a.json")
    monkeypatch.setattr(json_file, "MAX_BYTES", 9)
    with pytest.raises(DatasetError, match="kdyolo reads at most"):
        load_json(tmp_path / "a.json")
    with pytest.raises(DatasetError, match="Cannot read"):
        load_json(tmp_path / "gone.json")
    assert head_of(tmp_path / "gone.json") == b""


def test_numbers():
    assert (as_number(2), as_number(0.5), as_number(10**400)) == (2.0, 0.5, math.inf)
    assert all(math.isnan(as_number(value)) for value in (True, "1", None, [1], math.nan))
