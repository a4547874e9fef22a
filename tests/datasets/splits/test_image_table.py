import pytest
from builders import checked

from kdyolo.datasets.splits.image_table import read_rows
from kdyolo.errors import ConfigError

NAMES = ("a/x.jpg", "b.jpg", "=cmd.jpg", "b\udcff.jpg", "c\nd.jpg", "c\\nd.jpg")
SAMPLES = [checked(name, str(i)) for i, name in enumerate(NAMES)]


def read(tmp_path, text, needed=("split",)):
    file = tmp_path / "t.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(file, SAMPLES, needed)


@pytest.mark.parametrize(
    "text",
    [
        "source,split\na/x.jpg,train\nb.jpg,val\n",
        "\ufeffFile;Split\r\na/x.jpg;train\r\n\r\nb.jpg;val\r\n",
        "split\tmore\tsource\ntrain\t1\ta/x.jpg\nval\t2\tb.jpg",
        'source,split\n"a/x.jpg", train \n"b.jpg",val,,\n',
    ],
)
def test_tables_as_programs_write_them(tmp_path, text):
    rows = read(tmp_path, text)
    assert [(row.sample.name, row.cells["split"]) for row in rows] == [("a/x.jpg", "train"), ("b.jpg", "val")]


def test_names_as_kdyolo_writes_them(tmp_path):
    rows = read(tmp_path, "source,split\n'=cmd.jpg,train\nb\\xff.jpg,val\nc\\nd.jpg,test\n")
    assert [row.sample for row in rows] == [SAMPLES[2], SAMPLES[3], SAMPLES[5]]
    assert read(tmp_path, "source,split\n=cmd.jpg,train\n")[0].sample is SAMPLES[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks a column"),
        ("source,part\nb.jpg,train\n", "lacks a column"),
        ("name,split\nb.jpg,train\n", "lacks a column"),
        ("source,split\nx.jpg,train\nb.jpg,val\n", r"1 images that are not in the data set \(line 2: x.jpg\)"),
        ("source,split\n,train\n", "not in the data set"),
        ("source,split\nb.jpg,train\na/x.jpg,val\nb.jpg,train\n", r"1 images twice \(lines 2 and 4: b.jpg\)"),
        (b"source,split\n\xff\xfe,train\n", "not UTF-8"),
        ('source,split\n"' + "x" * 200_000 + '",train\n', "is no table"),
    ],
)
def test_faulty_tables_are_refused_with_the_reason(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read .*none\.csv: No such file"):
        read_rows(tmp_path / "none.csv", SAMPLES, ())
    with pytest.raises(ConfigError, match="Cannot read"):
        read_rows(tmp_path, SAMPLES, ())
