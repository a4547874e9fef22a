import csv
import json

from builders import checked, dataset_of

from kdyolo.datasets.auditing.audit import MAX_LISTED, summarise, verdict, write_audit


def test_a_summary_counts_everything_and_names_files_once():
    samples = [checked("a.jpg", given=("train",)), checked("b.jpg", boxes=(), given=("train",)), checked("c.jpg")]
    samples[2].reject("truncated")
    dataset = dataset_of(samples)
    dataset.add("clipped", "note", "a.txt", "First.")
    dataset.add("clipped", "note", "a.txt", "Second.")
    dataset.add("truncated", "error", "c.jpg", "Cut.")
    dataset.add("unused_class", "warning", "", "No dog.")
    dataset.add("near_duplicate", "warning", "b.jpg", "Like a.", partner="a.jpg")
    found = summarise(dataset)
    assert (found["images"], found["ok"], found["quarantined"], found["reasons"]) == (3, 2, 1, {"truncated": 1})
    assert (found["errors"], found["warnings"], found["notes"]) == (1, 2, 2)
    assert found["classes"] == {"cat": 1, "dog": 0}
    assert found["splits"] == {"train": {"images": 2, "boxes": 1, "background": 1}}
    kinds = [(f["code"], f["severity"], f["count"], f["files"]) for f in found["findings"]]
    assert kinds == [
        ("truncated", "error", 1, ["c.jpg"]),
        ("near_duplicate", "warning", 1, ["b.jpg"]),
        ("unused_class", "warning", 1, []),
        ("clipped", "note", 2, ["a.txt"]),
    ]
    assert found["findings"][1]["items"] == [{"file": "b.jpg", "line": None, "message": "Like a.", "partner": "a.jpg"}]
    assert all(f["title"] and f["meaning"] and f["todo"] for f in found["findings"])
    json.dumps(found, allow_nan=False)


def test_lists_are_cut_and_counts_are_not():
    dataset = dataset_of([checked("a.jpg")])
    for i in range(MAX_LISTED + 5):
        dataset.add("tiny_box", "warning", f"{i}.jpg", "Tiny.")
    for limit, listed in ((MAX_LISTED, MAX_LISTED), (3, 3), (None, MAX_LISTED + 5)):
        (group,) = summarise(dataset, limit)["findings"]
        assert (group["count"], len(group["files"]), len(group["items"])) == (MAX_LISTED + 5, listed, listed)


def test_the_order_of_findings_does_not_decide():
    names = [f"{i}.jpg" for i in range(5)]
    results = []
    for order in (names, names[::-1]):
        dataset = dataset_of([checked("a.jpg")])
        for name in order:
            dataset.add("tiny_box", "warning", name, "Tiny.")
            dataset.add("clipped", "note", name, "Clipped.")
        results.append(summarise(dataset))
    assert results[0] == results[1]


def test_the_verdict_names_what_is_worst():
    leaking = [checked("a.jpg", "same", given=("train",)), checked("b.jpg", "same", given=("test",))]
    assert verdict(dataset_of(leaking)) == (
        "The splits of this data set leak: 1 of 1 test images is identical to a train image."
    )
    dataset = dataset_of([checked(f"{i}.jpg") for i in range(4)])
    assert verdict(dataset) == "Nothing is wrong with these 4 images, as far as kdyolo can see."
    dataset.add("clipped", "note", "a.txt", "Clipped.")
    assert verdict(dataset).startswith("Nothing is wrong")
    for i, code in enumerate(("tiny_box", "tiny_box", "unused_class", "many_empty", "missing_label", "case_only_name")):
        dataset.add(code, "warning", f"{i}.jpg", "Look.")
    assert verdict(dataset) == (
        "This data set can be used, but look at this first: images without a label file (1), tiny boxes (2), "
        "mostly empty images (1), class without a box (1) and 1 kind more."
    )
    dataset.samples[0].reject("truncated")
    assert verdict(dataset) == "1 of 4 images cannot be used and would be left out."


def test_the_table_holds_every_finding(tmp_path):
    dataset = dataset_of([checked("a.jpg")])
    for i in range(MAX_LISTED + 5):
        dataset.add("tiny_box", "warning", f"=cmd{i}.jpg", "Tiny.", partner="+a.jpg")
    paths = write_audit(dataset, tmp_path)
    assert [path.name for path in paths] == ["audit.json", "audit.csv"]
    with paths[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == MAX_LISTED + 5
    assert (rows[0]["file"], rows[0]["partner"]) == ("'=cmd0.jpg", "'+a.jpg")
