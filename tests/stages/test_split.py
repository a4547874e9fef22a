import csv
import hashlib
import json
import os
import pickle
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from builders import image_bytes, make_voc_dataset, make_yolo_dataset, tree_state, write_image
from PIL import Image

from kdyolo.config import load_config
from kdyolo.datasets import view as view_module
from kdyolo.datasets.formats.labels import read_labels
from kdyolo.datasets.sample import SPLITS
from kdyolo.datasets.splits.folds import read_folds
from kdyolo.datasets.splits.splitting import split_dataset
from kdyolo.datasets.view import load_view, verify_view, view_stems
from kdyolo.errors import ConfigError, DatasetError, EnvironmentFault, UntrustedFileError
from kdyolo.progress import Silent
from kdyolo.stages.base import StageContext
from kdyolo.stages.split import STAGE
from kdyolo.storage import RunDir, sha256_file


def run_split(source, run, **overrides):
    config = load_config(overrides={"data.source": str(source), **overrides})
    directory = RunDir(run)
    directory.create()
    return STAGE.work(StageContext(directory, config, Silent()))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def audit_of(run):
    return json.loads((Path(run) / "split/audit.json").read_text())


def audit_codes(run):
    return {group["code"]: group["count"] for group in audit_of(run)["findings"]}


@pytest.fixture
def source(tmp_path):
    return make_yolo_dataset(tmp_path / "data", n=20)


def test_what_a_split_leaves(source, tmp_path):
    result = run_split(source, tmp_path / "run")
    folder = tmp_path / "run/split"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    view = load_view(folder)
    expected = {"data.yaml", "splits.csv", "signatures.csv", "audit.json", "audit.csv"}
    for split in SPLITS:
        for image in view.splits[split]:
            expected |= {f"images/{split}/{image.image.name}", f"labels/{split}/{image.image.stem}.txt"}
    assert names == expected
    assert {path.relative_to(folder).as_posix() for path in result.outputs} == {
        name for name in names if not name.startswith("images/")
    }
    assert result.facts["images"] == 20
    assert result.facts["classes"] == ["cat", "dog"]
    assert {s: f["images"] for s, f in result.facts["splits"].items()} == {"train": 14, "val": 3, "test": 3}
    assert sum(f["boxes"] for f in result.facts["splits"].values()) == 40
    assert result.facts["quarantined"] == 0
    assert "14 / 3 / 3" in result.summary
    json.dumps(result.facts, allow_nan=False)


def test_the_view_reads_back(source, tmp_path):
    run_split(source, tmp_path / "run")
    view = load_view(tmp_path / "run/split")
    assert view.names == ("cat", "dog")
    images = [image for split in SPLITS for image in view.splits[split]]
    assert sorted(image.source for image in images) == [f"images/img{i:03d}.jpg" for i in range(20)]
    for image in images:
        assert sha256_file(image.image) == image.sha256
        assert (image.width, image.height) == (64, 48)
        cls, xywhn = read_labels(image.label)
        assert len(cls) == image.boxes == 2
        given = np.loadtxt(source / "labels" / f"{image.image.stem}.txt")
        assert np.allclose(np.column_stack([cls, xywhn]), given, atol=1e-6)
    verify_view(view)


def test_the_table_of_splits(source, tmp_path):
    run_split(source, tmp_path / "run")
    with (tmp_path / "run/split/splits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "view",
        "split",
        "source",
        "sha256",
        "source_sha256",
        "bytes",
        "width",
        "height",
        "boxes",
        "group",
    ]
    assert rows == sorted(rows, key=lambda row: row["view"])


def test_images_are_hard_links_where_possible(source, tmp_path):
    run_split(source, tmp_path / "run")
    image = load_view(tmp_path / "run/split").splits["train"][0]
    assert image.image.samefile(source / image.source)


def test_images_are_copied_where_links_are_not_possible(source, tmp_path, monkeypatch):
    def refuse(*args: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    linked = run_split(source, tmp_path / "linked")
    monkeypatch.setattr(os, "link", refuse)
    copied = run_split(source, tmp_path / "copied")
    assert contents(tmp_path / "linked/split") == contents(tmp_path / "copied/split")
    assert linked.facts == copied.facts


def test_user_folders_are_never_changed(source, tmp_path):
    (source / "images/img001.jpg").write_bytes(image_bytes(seed=1) + b"junk")
    write_image(source / "images/deep.tif", seed=50)
    before = tree_state(source)
    run_split(source, tmp_path / "run")
    assert tree_state(source) == before


def test_the_result_depends_on_seed_and_content_only(source, tmp_path):
    run_split(source, tmp_path / "a")
    run_split(source, tmp_path / "b")
    assert contents(tmp_path / "a/split") == contents(tmp_path / "b/split")
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file():
            target = moved / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    run_split(moved, tmp_path / "c")
    assert contents(tmp_path / "a/split") == contents(tmp_path / "c/split")
    other = run_split(source, tmp_path / "d", **{"split.seed": 5})
    assert contents(tmp_path / "a/split") != contents(tmp_path / "d/split")
    assert (other.facts["seed"], other.facts["splits"]["train"]["images"]) == (5, 14)
    run_split(source, tmp_path / "e", seed=5)
    assert contents(tmp_path / "a/split") == contents(tmp_path / "e/split")


@pytest.mark.parametrize("stop_at", [1, 7, 25])
def test_a_crash_leaves_nothing_that_matters(source, tmp_path, monkeypatch, stop_at):
    write_image(source / "images/x.tif", seed=50)
    run_split(source, tmp_path / "whole")
    calls = 0
    write = view_module.storage.write_text

    def dies(path: Path, text: str) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(view_module.storage, "write_text", dies)
    with pytest.raises(KeyboardInterrupt):
        run_split(source, tmp_path / "cut")
    monkeypatch.undo()
    (tmp_path / "cut/split/.data.yaml.123.tmp").write_text("half")
    (tmp_path / "cut/split/images/train").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cut/split/images/train/left.jpg").write_text("x")
    run_split(source, tmp_path / "cut")
    assert contents(tmp_path / "whole/split") == contents(tmp_path / "cut/split")


@pytest.mark.parametrize("end", ["trailing", "no_eoi"])
def test_fault_05_06_jpegs_with_a_wrong_end(tmp_path, end):
    hashes = []
    for kind in ("rw", "ro"):
        source = make_yolo_dataset(tmp_path / kind, n=8)
        image = source / "images/img003.jpg"
        image.write_bytes(image.read_bytes() + b"more" if end == "trailing" else image.read_bytes()[:-2])
        before = sha256_file(image)
        if kind == "ro":
            image.chmod(stat.S_IRUSR)
            image.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
        try:
            hashes.append(run_split(source, tmp_path / f"run-{kind}").facts["dataset_sha256"])
        finally:
            image.parent.chmod(0o755)
        assert sha256_file(image) == before
        (copy,) = [
            i for s in SPLITS for i in load_view(tmp_path / f"run-{kind}/split").splits[s] if i.image.stem == "img003"
        ]
        assert copy.image.read_bytes().endswith(b"\xff\xd9")
        assert not copy.image.samefile(image)
        assert audit_codes(tmp_path / f"run-{kind}")["repaired"] == 1
    assert hashes[0] == hashes[1]


def test_fault_20_21_odd_names_survive(source, tmp_path):
    names = [
        "😀 smile é.jpg",
        "new\nline.jpg",
        os.fsdecode(b"b\xffd.jpg"),
        "=cmd().jpg",
        "<script>.jpg",
        "x" * 200 + ".jpg",
    ]
    for i, name in enumerate(names):
        write_image(source / "images" / name, 50 + i)
    run_split(source, tmp_path / "run")
    view = load_view(tmp_path / "run/split")
    stems = {image.source: image.image.stem for split in SPLITS for image in view.splits[split]}
    assert stems["images/😀 smile é.jpg"] == "😀 smile é"
    assert stems["images/=cmd().jpg"] == "=cmd()"
    assert "images/new\\nline.jpg" in stems
    assert "images/b\\xffd.jpg" in stems
    assert all(stem.isprintable() and len(stem) <= 120 for stem in stems.values())
    rows = (tmp_path / "run/split/audit.csv").read_text(encoding="utf-8").splitlines()
    assert sum(",missing_label," in row for row in rows) == len(names)
    verify_view(view)


def test_names_in_the_view_are_unique_whatever_the_case():
    names = ["a/x.jpg", "b/X.png", "c/y.jpg", "d/" + "é" * 150 + ".jpg", "e/tab\t.jpg", "f/tab\n.jpg"]
    stems = view_stems(names)
    assert stems["c/y.jpg"] == "y"
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    assert stems["a/x.jpg"].startswith("x-")
    assert stems == view_stems(names[::-1])


def test_fault_24_an_image_that_vanishes_during_the_split(source, tmp_path, monkeypatch):
    def vanish(*args: object) -> list[tuple[str, str, object]]:
        (source / "images/img004.jpg").unlink()
        return split_dataset(*args)

    monkeypatch.setattr("kdyolo.stages.split.split_dataset", vanish)
    with pytest.raises(DatasetError, match=r"img004\.jpg vanished"):
        run_split(source, tmp_path / "run")


@pytest.mark.parametrize("damage", ["vanish", "change"])
def test_fault_24_images_that_vanish_or_change_later(source, tmp_path, damage):
    run_split(source, tmp_path / "run")
    view = load_view(tmp_path / "run/split")
    victim = view.splits["val"][0]
    if damage == "vanish":
        victim.image.unlink()
    else:
        (source / victim.source).write_bytes(image_bytes(seed=999))
    verify_view(view, ["train", "test"])
    with pytest.raises(DatasetError, match=victim.image.name) as caught:
        verify_view(view)
    assert caught.value.exit_code == 3


def test_fault_24_a_missing_or_damaged_table(source, tmp_path):
    with pytest.raises(DatasetError, match="missing or damaged"):
        load_view(tmp_path)
    run_split(source, tmp_path / "run")
    (tmp_path / "run/split/splits.csv").write_text("view,split\nimages/train/a.jpg,train\n")
    with pytest.raises(DatasetError, match="missing or damaged"):
        load_view(tmp_path / "run/split")


def test_too_many_bad_images_fail_with_an_audit(source, tmp_path):
    for i in range(5):
        (source / f"images/img00{i}.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match="5 of 20"):
        run_split(source, tmp_path / "run")
    found = audit_of(tmp_path / "run")
    assert (found["images"], found["ok"], found["quarantined"], found["reasons"]) == (20, 15, 5, {"empty_file": 5})
    (group,) = found["findings"]
    assert (group["code"], group["count"], group["items"][0]["file"]) == ("empty_file", 5, "images/img000.jpg")
    assert not (tmp_path / "run/split/data.yaml").exists()
    result = run_split(source, tmp_path / "run", **{"audit.max_bad_fraction": 0.5})
    assert (result.facts["images"], result.facts["quarantined"]) == (15, 5)


def test_no_boxes_at_all_fail(source, tmp_path):
    for label in (source / "labels").iterdir():
        label.write_text("")
    with pytest.raises(DatasetError, match="No usable image has a box"):
        run_split(source, tmp_path / "run")


def test_fault_25_background_images_get_empty_labels(source, tmp_path):
    (source / "labels/img002.txt").write_text("")
    (source / "labels/img003.txt").unlink()
    result = run_split(source, tmp_path / "run")
    assert sum(f["background"] for f in result.facts["splits"].values()) == 2
    labels = {path.stem: path for path in (tmp_path / "run/split/labels").rglob("*.txt")}
    assert labels["img002"].read_bytes() == labels["img003"].read_bytes() == b""


def test_fault_41_42_nothing_of_the_data_set_is_run(source, tmp_path):
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(canary),))

    (source / "labels.cache").write_bytes(pickle.dumps(Bomb()))
    (source / "labels/train.cache").write_bytes(pickle.dumps(Bomb()))
    run_split(source, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.cache"))
    with (source / "data.yaml").open("a") as file:
        file.write(f"download: import os; os.mkdir('{canary}')\n")
    with pytest.raises(UntrustedFileError) as caught:
        run_split(source, tmp_path / "run2")
    assert caught.value.exit_code == 4
    assert not canary.exists()


def test_fault_46_train_and_val_are_one_folder(source, tmp_path):
    (source / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    with pytest.raises(DatasetError, match="20 of 20 val images"):
        run_split(source, tmp_path / "run", **{"split.keep_splits": True})
    assert run_split(source, tmp_path / "run").facts["images"] == 20


def test_fault_47_copies_stay_together(tmp_path):
    source = make_yolo_dataset(tmp_path / "d", splits={"train": 8, "val": 4, "test": 4})
    for i, split in ((0, "val"), (1, "test"), (2, "val")):
        shutil.copy(source / f"images/train/img{i:03d}.jpg", source / f"images/{split}/copy{i}.jpg")
    with pytest.raises(DatasetError, match="2 of 6 val images are identical to train"):
        run_split(source, tmp_path / "run", **{"split.keep_splits": True})
    assert audit_codes(tmp_path / "run")["split_leak"] == 3
    run_split(source, tmp_path / "run")
    splits = {}
    for name, images in load_view(tmp_path / "run/split").splits.items():
        for image in images:
            splits.setdefault(image.sha256, set()).add(name)
    assert len(splits) == 16
    assert all(len(names) == 1 for names in splits.values())


def test_fault_47_a_repaired_copy_counts_as_the_same_image(source, tmp_path):
    (source / "images/twin.jpg").write_bytes((source / "images/img000.jpg").read_bytes() + b"tail")
    assert run_split(source, tmp_path / "run").facts["groups"] == 20


@pytest.mark.parametrize("ratios", [(0.8, 0.1, 0.1), (0.34, 0.33, 0.33)])
def test_fault_50_ratios(source, tmp_path, ratios):
    facts = run_split(source, tmp_path / "run", **{"split.ratios": ratios}).facts
    assert all(abs(facts["splits"][s]["images"] - r * 20) < 1 for s, r in zip(SPLITS, ratios, strict=True))


def test_fault_50_ratios_that_do_not_sum_to_one():
    with pytest.raises(ConfigError, match="sum to 1"):
        load_config(overrides={"split.ratios": (0.7, 0.2, 0.2)})


def test_voc_becomes_the_same_view(tmp_path):
    lists = {"train": range(6), "val": [6], "test": [7, 8]}
    source = make_voc_dataset(tmp_path / "voc", n=9, lists=lists)
    result = run_split(source, tmp_path / "run", **{"split.keep_splits": True})
    assert result.facts["format"] == "voc"
    assert {s: f["images"] for s, f in result.facts["splits"].items()} == {"train": 6, "val": 1, "test": 2}
    label = tmp_path / "run/split/labels/train/v0.txt"
    assert label.read_text() == "0 0.265625 0.354167 0.406250 0.541667\n1 0.468750 0.541667 0.625000 0.583333\n"


def test_converted_images_are_png_in_the_view(source, tmp_path):
    write_image(source / "images/scan.TIF", seed=60, kind="TIFF")
    run_split(source, tmp_path / "run")
    (image,) = (tmp_path / "run/split/images").rglob("scan.*")
    assert image.suffix == ".png"
    assert image.read_bytes().startswith(b"\x89PNG")


def test_the_run_must_not_lie_in_the_data_set(source, tmp_path):
    with pytest.raises(ConfigError, match="inside each other"):
        run_split(source, source / "runs/a")
    run_split(source, tmp_path / "run")
    before = contents(tmp_path / "run/split")
    with pytest.raises(ConfigError, match="inside each other"):
        run_split(tmp_path / "run/split/images", tmp_path / "run")
    assert contents(tmp_path / "run/split") == before


def test_a_view_can_be_split_again(source, tmp_path):
    run_split(source, tmp_path / "run")
    again = run_split(tmp_path / "run/split", tmp_path / "again", **{"split.keep_splits": True})
    assert again.facts["splits"]["train"]["images"] == 14


def test_no_source_and_a_full_disk(source, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="No data set"):
        STAGE.inputs(load_config())
    write_image(source / "images/scan.tif", seed=60)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(EnvironmentFault, match="needs about"):
        run_split(source, tmp_path / "run")


def test_what_decides_the_result_is_recorded(source):
    def state(**overrides: object) -> tuple[object, object]:
        config = load_config(overrides={"data.source": str(source), **overrides})
        return STAGE.settings(config), STAGE.inputs(config)

    assert state() == state()
    assert state() == state(seed=1)
    assert state() != state(**{"split.seed": 1})
    assert state() == state(**{"student.epochs": 3})
    before = state()
    with (source / "labels/img000.txt").open("a") as file:
        file.write("0 0.5 0.5 0.1 0.1\n")
    assert state()[1] != before[1]
    before = state()
    for left in ("labels.cache", "images/.DS_Store", "images/img000.npy", ".git/HEAD", "__MACOSX/img000.jpg"):
        (source / left).parent.mkdir(exist_ok=True)
        (source / left).write_bytes(b"of another tool")
    assert state() == before
    json.dumps(STAGE.settings(load_config(overrides={"data.source": str(source)})))


def test_real_bccd_keeps_its_splits_but_for_one_field_of_view(real_dataset, tmp_path):
    with pytest.raises(DatasetError, match=r"1 of 87 val images are near copies of train images \(.*37.jpg ~ .*38.jpg"):
        run_split(real_dataset("bccd"), tmp_path / "run", **{"split.keep_splits": True})
    facts = run_split(real_dataset("bccd"), tmp_path / "run", **{"split.repair": True}).facts
    assert facts["moved"] == {"JPEGImages/BloodImage_00037.jpg": "val -> train"}
    assert {s: f["images"] for s, f in facts["splits"].items()} == {"train": 206, "val": 86, "test": 72}
    boxes = {name: sum(f["boxes_per_class"][name] for f in facts["splits"].values()) for name in facts["classes"]}
    assert boxes == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    assert facts["quarantined"] == 0


def test_real_cards_get_a_validation_split(real_dataset, tmp_path):
    facts = run_split(real_dataset("cards"), tmp_path / "run", **{"split.keep_splits": True}).facts
    counts = {s: f["images"] for s, f in facts["splits"].items()}
    assert counts["test"] == 67
    assert counts["train"] + counts["val"] == 296
    assert "split_carved" in audit_codes(tmp_path / "run")


def test_real_tomato_leaks_when_its_splits_are_kept(real_dataset, tmp_path):
    with pytest.raises(DatasetError) as caught:
        run_split(real_dataset("tomato"), tmp_path / "run", **{"split.keep_splits": True})
    assert "32 of 32 val images are identical to train" in caught.value.message
    assert "56 of 91 test images are identical to train" in caught.value.message
    assert "whole_image_boxes" in audit_codes(tmp_path / "run")


def test_real_tomato_can_be_repaired(real_dataset, tmp_path):
    facts = run_split(real_dataset("tomato"), tmp_path / "run", **{"split.repair": True}).facts
    groups = {s: {i.group for i in images} for s, images in load_view(tmp_path / "run/split").splits.items()}
    assert not any(groups[a] & groups[b] for a, b in (("train", "val"), ("train", "test"), ("val", "test")))
    assert min(f["images"] for f in facts["splits"].values()) >= 16
    assert audit_codes(tmp_path / "run")["moved"] == len(facts["moved"])


def test_real_tomato_is_clean_after_a_new_split(real_dataset, tmp_path):
    run_split(real_dataset("tomato"), tmp_path / "run")
    hashes = {s: {i.sha256 for i in images} for s, images in load_view(tmp_path / "run/split").splits.items()}
    assert not hashes["train"] & hashes["val"]
    assert not hashes["train"] & hashes["test"]
    assert not hashes["val"] & hashes["test"]


def test_the_dataset_hash_sees_labels(source, tmp_path):
    first = run_split(source, tmp_path / "a").facts["dataset_sha256"]
    assert len(first) == len(hashlib.sha256().hexdigest())
    (source / "labels/img000.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    assert run_split(source, tmp_path / "b").facts["dataset_sha256"] != first


def test_fault_33_confidences_of_the_labels_are_kept_beside_the_view(tmp_path):
    source = make_yolo_dataset(tmp_path / "data", n=8, boxes=2)
    label = sorted((source / "labels").glob("*.txt"))[0]
    first, second = label.read_text().splitlines()
    label.write_text(f"{first}\n{second} 0.75\n")
    run_split(source, tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run/split/confidences.csv").open(newline="")))
    assert [(Path(row["view"]).stem, row["box"], row["confidence"]) for row in rows] == [(label.stem, "1", "0.75")]
    assert all(len(line.split()) == 5 for p in (tmp_path / "run/split/labels").rglob("*.txt") for line in p.open())


def rows_of(run):
    with (Path(run) / "split/splits.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_was_achieved_is_recorded_and_told(source, tmp_path):
    notes = []

    class Told(Silent):
        def note(self, message):
            notes.append(message)

    config = load_config(overrides={"data.source": str(source)})
    directory = RunDir(tmp_path / "run")
    directory.create()
    result = STAGE.work(StageContext(directory, config, Told()))
    assert result.facts["ideal_shares"] == {"train": 0.7, "val": 0.15, "test": 0.15}
    assert result.facts["class_shares"]["cat"] == {"count": 20, "train": 0.7, "val": 0.15, "test": 0.15}
    assert result.facts["worst_deviation"] == result.facts["least_deviation"] == 0
    assert "at most 0 % off the ideal" in result.summary
    table = notes[-1].splitlines()
    assert table[0].split()[-3:] == ["train", "val", "test"]
    assert table[-1].split() == ["dog", "20", "70.0", "15.0", "15.0"]


def test_fault_48_near_copies_stay_together(tmp_path):
    source = make_yolo_dataset(tmp_path / "d", n=12)
    for i, quality in enumerate((50, 60, 70, 80)):
        picture = Image.open(source / f"images/img{i:03d}.jpg")
        picture.resize((96, 72)).save(source / f"images/copy{i}.jpg", quality=quality)
        shutil.copy(source / f"labels/img{i:03d}.txt", source / f"labels/copy{i}.txt")
    assert run_split(source, tmp_path / "run").facts["groups"] == 12
    places = {Path(row["source"]).stem: (row["split"], row["group"]) for row in rows_of(tmp_path / "run")}
    assert all(places[f"copy{i}"] == places[f"img{i:03d}"] for i in range(4))
    assert run_split(source, tmp_path / "run", **{"split.near_duplicates": False}).facts["groups"] == 16


def test_a_repair_moves_the_fewest_and_can_be_given_back(tmp_path):
    source = make_yolo_dataset(tmp_path / "d", splits={"train": 8, "val": 4, "test": 4})
    shutil.copy(source / "images/train/img000.jpg", source / "images/val/copy.jpg")
    shutil.copy(source / "labels/train/img000.txt", source / "labels/val/copy.txt")
    result = run_split(source, tmp_path / "run", **{"split.repair": True})
    assert result.facts["moved"] == {"images/val/copy.jpg": "val -> train"}
    assert result.summary.endswith("; images moved: 1")
    assert audit_codes(tmp_path / "run")["moved"] == 1
    again = run_split(source, tmp_path / "again", **{"split.from_file": str(tmp_path / "run/split/splits.csv")})
    assert "moved" not in again.facts
    assert rows_of(tmp_path / "again") == rows_of(tmp_path / "run")


@pytest.mark.parametrize("overrides", [{}, {"split.seed": 3}, {"split.labels_fraction": 0.5}])
def test_a_split_given_back_is_the_same_split(source, tmp_path, overrides):
    (source / "images/img001.jpg").write_bytes(image_bytes(seed=1) + b"junk")
    write_image(source / "images/=odd\n.tif", seed=50)
    shutil.copy(source / "images/img002.jpg", source / "images/twin.jpg")
    first = run_split(source, tmp_path / "first", **overrides)
    table = tmp_path / "splits.csv"
    shutil.copy(tmp_path / "first/split/splits.csv", table)
    second = run_split(source, tmp_path / "second", **{**overrides, "split.from_file": str(table)})
    assert contents(tmp_path / "first/split").keys() == contents(tmp_path / "second/split").keys()
    assert rows_of(tmp_path / "first") == rows_of(tmp_path / "second")
    assert first.facts["dataset_sha256"] == second.facts["dataset_sha256"]


def test_an_edited_split_file(source, tmp_path):
    run_split(source, tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    table = tmp_path / "mine.csv"

    def give(lines):
        table.write_text("source;split;sha256\n" + "".join(";".join(line) + "\n" for line in lines))
        return run_split(source, tmp_path / "again", **{"split.from_file": str(table)})

    lines = [[row["source"], row["split"], row["sha256"]] for row in rows]
    lines[0][1], lines[1][1] = "valid", ""
    facts = give(lines).facts
    assert facts["images"] == 19
    assert audit_codes(tmp_path / "again")["not_in_a_split"] == 1
    assert {row["split"] for row in rows_of(tmp_path / "again") if row["source"] == lines[0][0]} == {"val"}
    assert facts["ideal_shares"]["val"] == round(facts["splits"]["val"]["images"] / 19, 6)
    with pytest.raises(ConfigError, match="twice"):
        give([*lines, lines[0]])
    with pytest.raises(ConfigError, match="not in the data set"):
        give([*lines, ["images/none.jpg", "train", ""]])
    with pytest.raises(DatasetError, match=f"1 images are not those of .*: {lines[2][0]}"):
        give([*lines[:2], [lines[2][0], "train", "0" * 64]])


def test_a_split_file_that_leaks_is_refused_or_mended(source, tmp_path):
    shutil.copy(source / "images/img000.jpg", source / "images/twin.jpg")
    table = tmp_path / "mine.csv"
    names = [f"images/img{i:03d}.jpg" for i in range(20)]
    lines = [f"{name},{SPLITS[i % 3]}\n" for i, name in enumerate(names)]
    table.write_text("file,split\n" + "".join(lines) + "images/twin.jpg,test\n")
    with pytest.raises(DatasetError, match=r"mine\.csv leak: 1 of 7 test images are identical to train") as caught:
        run_split(source, tmp_path / "run", **{"split.from_file": str(table)})
    assert "--repair" in caught.value.hint
    assert audit_codes(tmp_path / "run")["split_leak"] == 1
    facts = run_split(source, tmp_path / "run", **{"split.from_file": str(table), "split.repair": True}).facts
    assert facts["moved"] == {"images/twin.jpg": "test -> train"}


def test_folds(source, tmp_path):
    result = run_split(source, tmp_path / "run", **{"split.folds": 4, "split.repeats": 2})
    assert (tmp_path / "run/split/folds.csv") in result.outputs
    assert {k: result.facts["folds"][k] for k in ("folds", "repeats")} == {"folds": 4, "repeats": 2}
    assert 0 <= result.facts["folds"]["worst_deviation"] < 0.2
    view = load_view(tmp_path / "run/split")
    pairs = list(read_folds(view, 1))
    assert sorted(i.source for _, held in pairs for i in held) == sorted(
        i.source for split in ("train", "val") for i in view.splits[split]
    )
    run_split(source, tmp_path / "run")
    assert not (tmp_path / "run/split/folds.csv").exists()
    with pytest.raises(DatasetError, match="too few for 18 folds"):
        run_split(source, tmp_path / "more", **{"split.folds": 18})


def test_tables_are_inputs_and_where_they_lie_is_not(source, tmp_path):
    def state(file, **overrides):
        config = load_config(overrides={"data.source": str(source), "split.from_file": str(file), **overrides})
        return STAGE.settings(config), STAGE.inputs(config)

    (tmp_path / "b").mkdir()
    first, second, groups = tmp_path / "a.csv", tmp_path / "b/a.csv", tmp_path / "g.csv"
    first.write_text("x")
    second.write_text("x")
    groups.write_text("y")
    assert state(first) == state(second)
    second.write_text("y")
    assert state(first)[0] == state(second)[0]
    assert state(first)[1] != state(second)[1]
    assert state(first)[1].keys() < state(first, **{"split.group_by": str(groups)})[1].keys()
    assert state(first, **{"split.group_by": "a(b)"})[0]["split"]["group_by"] == "a(b)"
    with pytest.raises(ConfigError, match="no file"):
        state(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="no file"):
        state(first, **{"split.group_by": str(tmp_path / "none.csv")})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"split.from_file": "a.csv", "split.keep_splits": True}, "exclude each other"),
        ({"split.repeats": 2}, "repeats needs folds"),
        ({"split.folds": 1}, "folds"),
        ({"split.group_by": "("}, "regular expression"),
    ],
)
def test_settings_that_cannot_be_meant(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=overrides)
