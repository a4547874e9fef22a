import pytest
from builders import checked, dataset_of

from kdyolo.datasets.auditing.balance import report_balance, report_rare_classes
from kdyolo.datasets.auditing.box_table import BoxTable

SHARES = (0.7, 0.15, 0.15)


def boxes(*classes):
    return [(c, 0.2 + 0.1 * i / len(classes), 0.5, 0.1, 0.1) for i, c in enumerate(classes)]


def judged(samples, names=("cat", "dog")):
    dataset = dataset_of(samples, names)
    report_balance(dataset, BoxTable.of(dataset.usable))
    return [(f.code, f.severity, f.file) for f in dataset.findings], [f.message for f in dataset.findings]


def test_nothing_is_wrong_with_an_even_set():
    assert judged([checked(f"{i}.jpg", boxes=boxes(0, 1)) for i in range(30)])[0] == []


def test_a_class_that_never_occurs():
    found, messages = judged([checked("a.jpg", boxes=boxes(0, 2))], ("cat", "dog", "owl"))
    assert found == [("unused_class", "warning", "")]
    assert "class 1, 'dog'" in messages[0]


@pytest.mark.parametrize(("times", "severity"), [(9, None), (10, "note"), (49, "note"), (50, "warning")])
def test_uneven_classes(times, severity):
    found, messages = judged([checked("a.jpg", boxes=boxes(*[0] * times, 1))])
    assert found == ([("class_imbalance", severity, "")] if severity else [])
    if severity:
        assert f"'cat' has {times} boxes, 'dog' has 1" in messages[0]


@pytest.mark.parametrize(("empty", "told"), [(4, False), (5, True)])
def test_mostly_empty_images(empty, told):
    samples = [checked(f"f{i}.jpg", boxes=boxes(0, 1)) for i in range(4)]
    samples += [checked(f"e{i}.jpg", boxes=()) for i in range(empty)]
    assert judged(samples)[0] == ([("many_empty", "warning", "")] if told else [])


def test_images_with_unusually_many_or_few_boxes():
    usual = [checked(f"u{i:02d}.jpg", boxes=boxes(*[0, 1] * (5 + i % 3))) for i in range(30)]
    crowd, lonely, empty = boxes(*[0, 1] * 60), boxes(0), ()
    odd = [checked(name, boxes=rows) for name, rows in (("x.jpg", crowd), ("y.jpg", lonely), ("z.jpg", empty))]
    found, messages = judged([*usual, *odd])
    assert found == [("crowded", "note", "x.jpg"), ("sparse", "note", "y.jpg")]
    assert messages == ["It has 120 boxes; 10 to 14 are usual.", "It has 1 box; 10 to 14 are usual."]
    assert judged([*usual[:17], *odd])[0] == []  # too few images to say what is usual


def test_images_of_very_different_sizes():
    samples = [checked(f"{i:02d}.jpg", boxes=boxes(0, 1), size=(200 + i * 50, 100)) for i in range(30)]
    found, _ = judged(samples)
    assert found == [("mixed_sizes", "note", "00.jpg")]
    assert judged(samples[5:])[0] == []


def rare(samples, names=("cat", "dog")):
    dataset = dataset_of(samples, names)
    report_rare_classes(dataset, BoxTable.of(dataset.usable), SHARES)
    assert {(f.code, f.severity) for f in dataset.findings} <= {("rare_class", "warning")}
    return [f.message for f in dataset.findings]


def test_classes_too_rare_for_the_splits_as_given():
    counts = {"train": (40, 0, 3), "val": (10, 9, 10), "test": (20, 20, 19)}
    samples = [
        checked(f"{split}{c}{i}.jpg", boxes=boxes(c), given=(split,))
        for split, numbers in counts.items()
        for c, number in enumerate(numbers)
        for i in range(number)
    ]
    assert rare(samples, ("cat", "dog", "owl", "never")) == [
        "Class 'dog' has too few boxes: 0 in train (1 needed), 9 in val (10 needed).",
        "Class 'owl' has too few boxes: 19 in test (20 needed).",
    ]


def test_classes_too_rare_for_splits_that_are_still_to_be_made():
    samples = [checked(f"a{i}.jpg", boxes=boxes(0)) for i in range(134)]
    samples += [checked(f"b{i}.jpg", boxes=boxes(1)) for i in range(100)]
    assert rare(samples) == ["Class 'dog' has 100 boxes in all: about 15 would be in test (20 needed)."]


def test_only_splits_that_exist_are_judged():
    samples = [checked(f"{i}.jpg", boxes=boxes(0), given=("train",)) for i in range(5)]
    assert rare(samples) == []
