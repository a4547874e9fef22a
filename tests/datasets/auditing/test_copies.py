import pytest
from builders import checked, dataset_of, looks

from kdyolo.datasets.auditing.copies import copies_of, find_copies, leak_sentences, report_copies, report_sources

BOX, OTHER = (0, 0.5, 0.5, 0.2, 0.2), (0, 0.4, 0.5, 0.2, 0.2)


def found(samples):
    copies = copies_of(dataset_of(samples))
    return [(copy.sample.name, copy.twin.name, copy.kind, copy.leak) for copy in copies]


def test_different_images_are_no_copies():
    assert found([checked(f"{i}.jpg", looks=looks(i)) for i in range(6)]) == []


def test_identical_images_inside_a_split_name_the_first():
    samples = [checked(f"{i}.jpg", "same") for i in range(3)]
    assert found(samples) == [("1.jpg", "0.jpg", "identical", None), ("2.jpg", "0.jpg", "identical", None)]


def test_a_leak_is_told_of_the_later_split_and_of_train_before_val():
    samples = [
        checked("a/test.jpg", "same", given=("test",)),
        checked("b/val.jpg", "same", given=("val",)),
        checked("c/train.jpg", "same", given=("train",)),
        checked("d/train.jpg", "same", given=("train",)),
    ]
    assert found(samples) == [
        ("a/test.jpg", "c/train.jpg", "identical", ("test", "train")),
        ("b/val.jpg", "c/train.jpg", "identical", ("val", "train")),
        ("d/train.jpg", "c/train.jpg", "identical", None),
    ]
    assert found(samples[:2]) == [("a/test.jpg", "b/val.jpg", "identical", ("test", "val"))]


def test_an_image_listed_in_two_splits_leaks_into_itself():
    assert found([checked("a.jpg", given=("train", "val"))]) == [("a.jpg", "a.jpg", "identical", ("val", "train"))]


def test_an_image_of_no_split_beside_others_is_a_copy_and_no_leak():
    samples = [checked("a.jpg", "same"), checked("b.jpg", "same", given=("test",)), checked("c.jpg", "same")]
    assert found(samples) == [("b.jpg", "a.jpg", "identical", None), ("c.jpg", "a.jpg", "identical", None)]


def test_near_and_mirrored_copies_inside_and_across_splits():
    samples = [
        checked("1.jpg", given=("train",), looks=looks(1)),
        checked("2.jpg", given=("train",), looks=looks(1, noise=1)),
        checked("3.jpg", given=("val",), looks=looks(1, noise=2)),
        checked("4.jpg", given=("test",), looks=looks(1, flipped=True)),
        checked("5.jpg", given=("test",), looks=looks(5)),
    ]
    assert found(samples) == [
        ("2.jpg", "1.jpg", "near", None),
        ("3.jpg", "1.jpg", "near", ("val", "train")),
        ("4.jpg", "1.jpg", "flipped", ("test", "train")),
    ]


def test_an_identical_leak_is_told_once_and_a_near_leak_beats_an_identical_copy_inside():
    samples = [
        checked("train.jpg", "a", given=("train",), looks=looks(1)),
        checked("val1.jpg", "b", given=("val",), looks=looks(1, noise=1)),
        checked("val2.jpg", "b", given=("val",), looks=looks(1, noise=1)),
        checked("val3.jpg", "a", given=("val",), looks=looks(1)),
    ]
    assert found(samples) == [
        ("val1.jpg", "train.jpg", "near", ("val", "train")),
        ("val2.jpg", "train.jpg", "near", ("val", "train")),
        ("val3.jpg", "train.jpg", "identical", ("val", "train")),
    ]


def test_many_identical_images_take_linear_time():
    samples = [checked(f"{i:05d}.jpg", "same", given=(("test", "train")[i % 2],)) for i in range(20_000)]
    copies = find_copies(samples, [])
    assert len(copies) == 19_999
    assert sum(copy.leak is not None for copy in copies) == 10_000


@pytest.mark.parametrize(("own_splits", "leak", "inside"), [(True, "error", "warning"), (False, "note", "note")])
def test_copies_are_as_bad_as_what_is_done_with_them(own_splits, leak, inside):
    samples = [
        checked("a.jpg", "same", given=("train",), looks=looks(1)),
        checked("b.jpg", "same", [OTHER], given=("test",), looks=looks(1)),
        checked("c.jpg", given=("val",), looks=looks(1, noise=1)),
        checked("d.jpg", "twice", given=("train",)),
        checked("e.jpg", "twice", given=("train",)),
        checked("f.jpg", given=("train",), looks=looks(2)),
        checked("g.jpg", given=("train",), looks=looks(2, flipped=True)),
    ]
    dataset = dataset_of(samples)
    report_copies(dataset, own_splits)
    assert [(f.code, f.severity, f.file, f.partner) for f in dataset.findings] == [
        ("split_leak", leak, "b.jpg", "a.jpg"),
        ("labels_differ", "warning", "b.jpg", "a.jpg"),
        ("near_leak", leak, "c.jpg", "a.jpg"),
        ("identical_image", inside, "e.jpg", "d.jpg"),
        ("flipped_copy", inside, "g.jpg", "f.jpg"),
    ]


def test_leaks_are_summed_up_by_split():
    samples = [checked(f"train{i}.jpg", str(i), given=("train",), looks=looks(i)) for i in range(3)]
    samples += [checked(f"val{i}.jpg", str(i), given=("val",), looks=looks(i)) for i in range(4)]
    samples += [checked("test.jpg", given=("test",), looks=looks(2, noise=1))]
    dataset = dataset_of(samples)
    assert leak_sentences(copies_of(dataset), dataset.usable) == [
        "3 of 4 val images are identical to train images",
        "1 of 1 test images is a near copy of a train image",
    ]


def test_sources_by_name_inside_and_across_splits():
    inside = [checked(f"walk_mp4-{i}.jpg", given=("train",)) for i in range(3)]
    across = [
        checked(f"{split}/leaf_jpg.rf.{str(i) * 32}.jpg", given=(split,)) for i, split in enumerate(("train", "val"))
    ]
    for own_splits, severity in ((True, "warning"), (False, "note")):
        dataset = dataset_of([*inside, *across, checked("IMG_1.jpg"), checked("IMG_2.jpg")])
        report_sources(dataset, own_splits)
        assert [(f.code, f.severity, f.file, f.partner) for f in dataset.findings] == [
            ("source_leak", severity, across[1].name, across[0].name),
            ("same_source", "note", inside[0].name, inside[1].name),
        ]
    assert "in val (1) and train (1)" in dataset.findings[0].message
