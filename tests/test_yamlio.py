import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.errors import ConfigError
from kdyolo.yamlio import MAX_BYTES, MAX_NODES, dump_yaml, load_mapping, parse_yaml

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_what_is_dumped_reads_back(data):
    assert parse_yaml(dump_yaml(data), "x") == data


@pytest.mark.parametrize("text", ["\x85", "a\x85b", "a\u2028 b", "\u2029", "plain", "ä: b", "\n"])
def test_line_breaks_of_unicode_survive(text):
    assert parse_yaml(dump_yaml({"names": [text], text: 1}), "x") == {"names": [text], text: 1}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", "line 2, column 4"),
        ("a: &x 1\nb: *x\n", "line 2, column 4"),
        ("a: 1\na: 2\n", "line 2, column 1"),
        ("a: 1\n\tb: 2\n", "line 2, column 1"),
        ("a: [1, 2\n", "line 2, column 1"),
    ],
)
def test_faults_say_where(text, place):
    with pytest.raises(ConfigError, match=place):
        parse_yaml(text, "run.yaml")


def test_an_object_tag_runs_nothing(tmp_path):
    canary = tmp_path / "canary"
    with pytest.raises(ConfigError):
        parse_yaml(f"!!python/object/apply:os.mkdir ['{canary}']", "x")
    assert not canary.exists()


@pytest.mark.timeout(30)
def test_bombs_are_refused():
    layers = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    with pytest.raises(ConfigError, match="aliases"):
        parse_yaml("\n".join(layers), "x")
    with pytest.raises(ConfigError, match="values"):
        parse_yaml("[" + "1," * (MAX_NODES + 1) + "]", "x")
    with pytest.raises(ConfigError, match="not valid"):
        parse_yaml("[" * 5000, "x")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "empty"),
        (b"- a\n", "a list"),
        (b"just text", "a str"),
        (b"a: \xff\n", "UTF-8"),
        (b"\x00\x01", "not valid"),
    ],
)
def test_what_is_no_mapping(tmp_path, data, match):
    (tmp_path / "x.yaml").write_bytes(data)
    with pytest.raises(ConfigError, match=match):
        load_mapping(tmp_path / "x.yaml")


def test_missing_and_large_files(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read"):
        load_mapping(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="Cannot read"):
        load_mapping(tmp_path)
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="larger"):
        load_mapping(tmp_path / "large.yaml")


def test_a_byte_order_mark_is_fine(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfname: caf\xc3\xa9\n")
    assert load_mapping(tmp_path / "x.yaml") == {"name": "café"}


def test_words_that_yaml_takes_for_logic_are_quoted():
    assert yaml.safe_load(dump_yaml({"names": ["no", "yes", "1", "1.0", "null", "é"]}))["names"][0] == "no"
