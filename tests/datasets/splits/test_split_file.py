import pytest
from builders import checked, dataset_of

from kdyolo.datasets.splits.split_file import apply_split_file, require_unchanged
from kdyolo.errors import ConfigError, DatasetError


@pytest.fixture
def dataset():
    return dataset_of([checked(f"{name}.jpg", given=("train", "val")) for name in "abcd"])


@pytest.fixture
def table(tmp_path):
    def write(text):
        (tmp_path / "splits.csv").write_text(text)
        return tmp_path / "splits.csv"

    return write


def given(dataset):
    return {sample.name[0]: sample.given for sample in dataset.samples}


def test_the_table_replaces_the_splits_of_the_data_set(dataset, table):
    assert apply_split_file(table("source,split\na.jpg,train\nb.jpg,Valid\nc.jpg,test\n"), dataset) == {}
    assert given(dataset) == {"a": ("train",), "b": ("val",), "c": ("test",), "d": ()}


def test_an_empty_cell_leaves_an_image_out_and_the_pool_is_train(dataset, table):
    apply_split_file(table("file,split\na.jpg,pool\nb.jpg,\n"), dataset)
    assert given(dataset) == {"a": ("train",), "b": (), "c": (), "d": ()}


def test_an_unknown_split_is_named_with_its_line(dataset, table):
    with pytest.raises(ConfigError, match=r"splits.csv, line 3: there is no split 'holdout'"):
        apply_split_file(table("source,split\na.jpg,train\nb.jpg,holdout\n"), dataset)


def test_hashes_of_the_file_and_of_its_clean_copy_are_right(dataset, table):
    shas = [sample.check.sha256 for sample in dataset.samples]
    file = table(f"source,split,sha256\na.jpg,train,{shas[0].upper()}\nb.jpg,val,\nc.jpg,test,{shas[0]}\n")
    hashes = apply_split_file(file, dataset)
    assert hashes == {"a.jpg": shas[0], "c.jpg": shas[0]}
    with pytest.raises(DatasetError, match=r"1 images are not those of .*splits.csv, by their sha256: c.jpg\."):
        require_unchanged(file, dataset, hashes)
    require_unchanged(file, dataset, {"a.jpg": shas[0]})
    dataset.samples[2].reject("truncated")
    require_unchanged(file, dataset, hashes)
