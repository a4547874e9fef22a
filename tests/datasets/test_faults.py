"""Every fault of images, labels, data.yaml and splits that kdyolo promises to handle, and what comes of it.

Each row spoils a good data set of twelve images and says what the audit makes of it: what it finds and whether the
image is kept out, or with which error the data set is refused. Faults that only show after the audit are at the end.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import (
    image_bytes,
    make_voc_dataset,
    make_yolo_dataset,
    pixels,
    png_header,
    tree_state,
    voc_xml,
    write_image,
)
from PIL import Image

from kdyolo import api
from kdyolo.config import load_config
from kdyolo.datasets.view import load_view, verify_view
from kdyolo.errors import ConfigError, DatasetError, UntrustedFileError
from kdyolo.progress import Silent
from kdyolo.stages.base import StageContext
from kdyolo.stages.split import STAGE
from kdyolo.storage import RunDir

IMAGE, LABEL = "images/img003.jpg", "labels/img003.txt"
ROW = "0 0.5 0.5 0.4 0.4"


@dataclass
class Fault:
    """A row of the table.

    Attributes:
        number: As in the list of promises.
        case: What is wrong.
        spoil: Changes the data set in a folder; may return another source.
        found: (code, severity) of what the audit finds beyond notes on balance.
        out: How many images are kept out.
        line: Line of the label file that is named.
        refused: The error that refuses the data set, and a piece of its message.
        settings: Other than the defaults.
    """

    number: int
    case: str
    spoil: Callable[[Path], Path | None]
    found: set[tuple[str, str]] = field(default_factory=set)
    out: int = 0
    line: int | None = None
    refused: tuple[type[Exception], str] | None = None
    settings: dict[str, object] = field(default_factory=dict)


def content(data: bytes, name: str = IMAGE) -> Callable[[Path], None]:
    """Put other bytes into a file, in place of the image of that label if it has another extension."""

    def spoil(folder: Path) -> None:
        (folder / IMAGE).unlink()
        (folder / name).write_bytes(data)

    return spoil


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the bytes of an image."""
    return lambda folder: (folder / IMAGE).write_bytes(change((folder / IMAGE).read_bytes())) and None


def label(*rows: str, encoding: str = "utf-8", end: str = "\n") -> Callable[[Path], None]:
    """Write a label file of these rows."""
    data = "".join(row + end for row in rows).encode(encoding)
    return lambda folder: (folder / LABEL).write_bytes(data) and None


def yaml(text: str) -> Callable[[Path], None]:
    """Write another data.yaml; CANARY is a folder that must never come to be."""

    def spoil(folder: Path) -> None:
        (folder / "data.yaml").write_text(text.replace("CANARY", str(folder.parent / "canary")))

    return spoil


def picture(kind: str, name: str = IMAGE, mode: str = "RGB", **save: object) -> Callable[[Path], None]:
    """Write the image in another mode or format."""

    def spoil(folder: Path) -> None:
        (folder / IMAGE).unlink()
        Image.fromarray(pixels(3)).convert(mode).save(folder / name, kind, **save)

    return spoil


def sixteen_bit(folder: Path) -> None:
    (folder / IMAGE).unlink()
    cv2.imwrite(str(folder / "images/img003.png"), pixels(3).astype(np.uint16)[..., ::-1] * 257)


def pages(kind: str, name: str) -> Callable[[Path], None]:
    images = [Image.fromarray(pixels(seed)) for seed in range(3)]
    return picture(kind, name, save_all=True, append_images=images[1:])


def turned(orientation: int) -> Callable[[Path], Path]:
    """A VOC set whose image is turned by EXIF; the annotation gives the upright size and a box in the upright frame."""

    def spoil(folder: Path) -> Path:
        voc = make_voc_dataset(folder.parent / "voc", n=9)
        exif = Image.Exif()
        exif[0x0112] = orientation
        size = (48, 64) if orientation >= 5 else (64, 48)
        write_image(voc / "JPEGImages/v4.jpg", 4, exif=exif.tobytes())
        (voc / "Annotations/v4.xml").write_text(voc_xml([("cat", 2, 2, size[0], size[1])], size=size))
        return voc

    return spoil


def read_only(folder: Path) -> None:
    changed(lambda data: data + b"junk")(folder)
    (folder / IMAGE).chmod(0o400)


def links(folder: Path) -> None:
    write_image(folder.parent / "secret/s.jpg")
    (folder / "images/out.jpg").symlink_to(folder.parent / "secret/s.jpg")
    (folder / "images/loop.jpg").symlink_to(folder / "images/loop.jpg")
    (folder / "images/gone.jpg").symlink_to(folder / "nothing.jpg")


def no_files(folder: Path) -> None:
    os.mkfifo(folder / "images/pipe.jpg")
    (folder / "images/folder.jpg").mkdir()


def renamed(*names: str | bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for number, name in enumerate(names):
            text = os.fsdecode(name) if isinstance(name, bytes) else name
            os.replace(folder / f"images/img{number:03d}.jpg", folder / "images" / f"{text}.jpg")
            os.replace(folder / f"labels/img{number:03d}.txt", folder / "labels" / f"{text}.txt")

    return spoil


def orphans(folder: Path) -> None:
    (folder / "labels/gone.txt").write_text(ROW)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/stray.txt").write_text(ROW)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self):
        return (os.mkdir, (self.canary,))


def poisoned_caches(folder: Path) -> None:
    for name in ("labels.cache", "labels/train.cache", "images/x.npy"):
        (folder / name).write_bytes(pickle.dumps(Bomb(folder.parent / "canary")))


def splits(change: Callable[[Path], None]) -> Callable[[Path], Path]:
    """A data set with splits of its own, changed."""

    def spoil(folder: Path) -> Path:
        # Enough boxes that no class is too rare.
        source = make_yolo_dataset(folder.parent / "split", splits={"train": 12, "val": 10, "test": 20})
        change(source)
        return source

    return spoil


def overlapping_lists(folder: Path) -> None:
    for split, numbers in (("train", range(12)), ("val", range(11, 22)), ("test", range(22, 42))):
        folders = {"train": range(12), "val": range(12, 22), "test": range(22, 42)}
        names = [f"images/{next(s for s, r in folders.items() if n in r)}/img{n:03d}.jpg" for n in numbers]
        (folder / f"{split}.txt").write_text("\n".join(names))
    (folder / "data.yaml").write_text("train: train.txt\nval: val.txt\ntest: test.txt\nnames: [cat, dog]\n")


def train_is_val(folder: Path) -> None:
    (folder / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [cat, dog]\n")


def twin(change: Callable[[Image.Image], tuple[Image.Image, dict[str, object]]]) -> Callable[[Path], Path]:
    """A changed copy of a large training image among the test images."""

    def spoil(folder: Path) -> None:
        write_image(folder / "images/train/img000.jpg", 500, (320, 240), quality=92)
        with Image.open(folder / "images/train/img000.jpg") as image:
            copy, save = change(image.convert("RGB"))
        copy.save(folder / "images/test/img040.jpg", "JPEG", **{"quality": 92, **save})

    return splits(spoil)


def brightened(factor: float) -> Callable[[Image.Image], tuple[Image.Image, dict[str, object]]]:
    return lambda image: (image.point(lambda value: min(255, round(value * factor))), {})


def rare(folder: Path) -> None:
    for path in (folder / "labels/val").iterdir():
        path.write_text("0 0.5 0.5 0.3 0.3\n")


def three_images(folder: Path) -> Path:
    return make_yolo_dataset(folder.parent / "three", n=3)


def one_class(folder: Path) -> Path:
    return make_yolo_dataset(folder.parent / "one", n=12, boxes=30, classes=("cat",))


def huge_label(folder: Path) -> None:
    (folder / LABEL).write_bytes((ROW + "\n").encode() * 400_000)


ERROR, WARNING, NOTE = "error", "warning", "note"
TAIL = "train: images\nval: images\nnames: [cat, dog]\n"


def bad_image(code: str) -> dict[str, object]:
    return {"found": {(code, ERROR)}, "out": 1}


def bad_line(code: str, line: int = 2) -> dict[str, object]:
    return {"found": {(code, ERROR)}, "out": 1, "line": line}


FAULTS = [
    Fault(1, "zero bytes", content(b""), **bad_image("empty_file")),
    Fault(2, "text renamed .jpg", content(b"no image at all\n" * 50), **bad_image("not_an_image")),
    Fault(3, "JPEG cut at 50 %", changed(lambda data: data[: len(data) // 2]), **bad_image("truncated")),
    Fault(3, "JPEG cut at 95 %", changed(lambda data: data[: len(data) * 95 // 100]), **bad_image("truncated")),
    Fault(4, "JPEG cut in its header", changed(lambda data: data[:100]), **bad_image("truncated")),
    Fault(5, "JPEG with trailing bytes", changed(lambda data: data + b"junk"), {("repaired", NOTE)}),
    Fault(5, "JPEG without EOI", changed(lambda data: data[:-2]), {("repaired", NOTE)}),
    Fault(6, "the same, read-only", read_only, {("repaired", NOTE)}),
    Fault(7, "PNG named .jpg", picture("PNG"), {("extension_mismatch", WARNING)}),
    Fault(8, "CMYK JPEG", picture("JPEG", mode="CMYK", quality=95)),
    Fault(9, "16-bit PNG", sixteen_bit, {("sixteen_bit", NOTE)}),
    *(Fault(10, f"mode {mode}", picture("PNG", "images/img003.png", mode)) for mode in ("1", "P", "L")),
    Fault(10, "mode RGBA", picture("PNG", "images/img003.png", "RGBA"), {("alpha_dropped", NOTE)}),
    *(
        Fault(11, f"EXIF orientation {number}", turned(number), {("rare_class", WARNING)})  # nine images, nothing else
        for number in range(1, 9)
    ),
    Fault(12, "image of 9 x 9 px", content(image_bytes(size=(9, 9))), **bad_image("too_small")),
    Fault(13, "animated GIF", pages("GIF", "images/img003.gif"), **bad_image("unsupported")),
    Fault(13, "TIFF of pages", pages("TIFF", "images/img003.tif"), {("first_page", NOTE), ("converted", NOTE)}),
    Fault(14, "400-Mpx bomb", content(png_header(20_000, 20_000), "images/img003.png"), **bad_image("too_large")),
    Fault(15, "144 Mpx", content(png_header(12_000, 12_000), "images/img003.png"), **bad_image("too_large")),
    Fault(16, "a strip", content(image_bytes(size=(1, 20_000), kind="PNG")), {("too_small", ERROR)}, 1),
    Fault(16, "a wider strip", content(image_bytes(size=(12, 2000))), **bad_image("aspect")),
    Fault(
        17, "HEIC", content(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "images/img003.heic"),
        **bad_image("unsupported"),
    ),
    Fault(18, "links out, in circles and to nothing", links, {("outside_root", ERROR), ("broken_link", ERROR)}, 3),
    Fault(19, "pipe and folder named like images", no_files, {("not_a_file", WARNING)}),
    Fault(20, "unicode, emoji, blank, newline", renamed("é ü", "😀 smile", "new\nline")),
    Fault(21, "name that is not UTF-8", renamed(b"b\xffd")),
    Fault(
        22, "two images, one label", lambda folder: write_image(folder / "images/img003.png", 77) and None,
        {("label_collision", ERROR)}, 2,
    ),
    Fault(23, "names differing in case", renamed("a", "A"), {("case_only_name", WARNING)}),
    Fault(25, "empty label", label()),
    Fault(26, "missing label", lambda folder: (folder / LABEL).unlink(), {("missing_label", WARNING)}),
    Fault(
        26, "missing label, required", lambda folder: (folder / LABEL).unlink(), {("missing_label", ERROR)}, 1,
        settings={"audit.require_labels": True},
    ),
    Fault(27, "NaN in a box", label(ROW, "0 nan 0.5 0.1 0.1"), **bad_line("not_finite")),
    Fault(27, "infinite class", label(ROW, "inf 0.5 0.5 0.1 0.1"), **bad_line("not_finite")),
    Fault(
        27, "NaN, only the line is lost", label(ROW, "0 nan 0.5 0.1 0.1"), {("not_finite", WARNING)}, 0, 2,
        settings={"audit.bad_label": "drop_line"},
    ),
    Fault(28, "coordinate 1.2", label(ROW, "0 1.2 0.5 0.1 0.1"), **bad_line("out_of_range")),
    Fault(28, "coordinate -0.2", label(ROW, "0 0.5 -0.2 0.1 0.1"), **bad_line("out_of_range")),
    Fault(29, "coordinate 1.005", label("0 1.005 0.5 0.2 0.2"), {("clipped", NOTE)}, 0, 1),
    Fault(29, "coordinate -0.005", label("0 -0.005 0.5 0.2 0.2"), {("clipped", NOTE)}, 0, 1),
    Fault(30, "box leaves the image", label("0 0.9 0.5 0.4 0.2"), {("clipped", NOTE)}, 0, 1),
    *(
        Fault(31, f"size {size}", label(ROW, f"0 0.5 0.5 {size}"), {("degenerate", WARNING)}, 0, 2)
        for size in ("0 0.2", "0.2 0", "1e-9 0.2", "-0.2 0.2")
    ),
    *(
        Fault(32, f"class {name}", label(ROW, f"{name} 0.5 0.5 0.2 0.2"), **bad_line("class_id"))
        for name in ("2", "-1", "0.5", "tomato")
    ),
    Fault(33, "four columns", label(ROW, "0 0.5 0.5 0.2"), **bad_line("columns")),
    Fault(33, "six columns", label("0 0.5 0.5 0.2 0.2 0.9"), {("confidence_column", NOTE)}, 0, 1),
    Fault(34, "commas", label(ROW, "0,0.5,0.5,0.2,0.2"), **bad_line("comma")),
    Fault(34, "decimal commas", label(ROW, "0 0,5 0,5 0,2 0,2"), **bad_line("comma")),
    Fault(35, "pixels", label(ROW, "0 320 240 100 80"), **bad_line("pixels")),
    Fault(36, "polygon among boxes", label(ROW, "1 0.1 0.2 0.5 0.3 0.3 0.8"), {("polygon", NOTE)}, 0, 2),
    Fault(37, "line given twice", label(ROW, ROW), {("duplicate_line", NOTE)}, 0, 2),
    Fault(37, "one box, two classes", label(ROW, "1 0.5 0.5 0.4 0.4"), {("class_conflict", WARNING)}, 0, 2),
    Fault(38, "BOM", label(ROW, encoding="utf-8-sig")),
    Fault(38, "CRLF", label(ROW, end="\r\n")),
    Fault(38, "UTF-16", label(ROW, encoding="utf-16"), **bad_image("bad_encoding")),
    Fault(38, "latin-1", label("é 0.5 0.5 0.2 0.2", encoding="latin-1"), **bad_image("bad_encoding")),
    Fault(38, "binary", label("\0\1\2\3"), **bad_image("bad_encoding")),
    Fault(39, "huge label file", huge_label, **bad_image("label_too_large")),
    Fault(40, "labels without an image", orphans, {("orphan_label", WARNING)}),
    *(
        Fault(41, f"download: {how}", yaml(f"{TAIL}download: {text}"), refused=(UntrustedFileError, "download"))
        for how, text in (
            ("python", "|\n  import os\n  os.mkdir('CANARY')\n"),
            ("bash", "bash mkdir CANARY"),
            ("address", "https://example.com/x.zip"),
        )
    ),
    Fault(42, "poisoned label caches", poisoned_caches),
    Fault(43, "tag", yaml("!!python/object/apply:os.mkdir ['CANARY']"), refused=(ConfigError, "line 1, column 1")),
    Fault(43, "aliases", yaml("names: &a [x,x]\nb: [*a,*a]\n"), refused=(ConfigError, "aliases")),
    Fault(43, "tab", yaml("names:\n\t- a\n"), refused=(ConfigError, "line 2, column 1")),
    Fault(43, "empty", yaml(""), refused=(ConfigError, "empty")),
    Fault(43, "list at the top", yaml("- names\n"), refused=(ConfigError, "a list")),
    *(
        Fault(44, place, yaml(f"train: '{place}'\nnames: [cat, dog]\n"), refused=(UntrustedFileError, "leaves"))
        for place in ("../../etc", "/etc", "~/x", "file:///etc", "$HOME/x")
    ),
    Fault(45, "nc and names disagree", yaml("nc: 3\nnames: [cat, dog]\n"), refused=(ConfigError, "nc is 3")),
    Fault(45, "gap in names", yaml("names: {0: cat, 2: dog}\n"), refused=(ConfigError, "class 1")),
    Fault(45, "name twice", yaml("names: [cat, dog, cat]\n"), refused=(ConfigError, "classes 0 and 2")),
    Fault(45, "empty name", yaml("names: [cat, ' ']\n"), refused=(ConfigError, "empty")),
    Fault(45, "YAML logic value", yaml("names: [no, dog]\n"), refused=(ConfigError, "not as text")),
    Fault(45, "100 000 classes", yaml("nc: 100000\n"), refused=(ConfigError, "at most 10000")),
    Fault(46, "train is val", splits(train_is_val), {("split_leak", ERROR), ("not_listed", NOTE)}),
    Fault(46, "overlapping lists", splits(overlapping_lists), {("split_leak", ERROR)}),
    Fault(
        47, "identical image in two splits",
        splits(lambda f: shutil.copy(f / "images/train/img000.jpg", f / "images/val/img012.jpg") and None),
        {("split_leak", ERROR), ("labels_differ", WARNING)},
    ),
    Fault(48, "resized", twin(lambda image: (image.resize((160, 120)), {})), {("near_leak", ERROR)}),
    Fault(48, "JPEG at quality 50", twin(lambda image: (image, {"quality": 50})), {("near_leak", ERROR)}),
    Fault(48, "5 % brighter", twin(brightened(1.05)), {("near_leak", ERROR)}),
    Fault(48, "5 % darker", twin(brightened(0.95)), {("near_leak", ERROR)}),
    Fault(
        48, "mirrored", twin(lambda image: (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {})),
        {("near_leak", ERROR)},
    ),
    Fault(49, "class without a box in val", splits(rare), {("rare_class", WARNING)}),
    Fault(50, "three images", three_images, {("rare_class", WARNING)}),
    Fault(
        50, "ratios that do not sum to 1", lambda folder: None, refused=(ConfigError, "sum to 1"),
        settings={"split.ratios": (0.7, 0.2, 0.2)},
    ),
    Fault(50, "one class", one_class, {("one_class", NOTE)}),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A good data set in which every class has enough boxes; nothing may be started while it is judged."""
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    return make_yolo_dataset(tmp_path / "data", n=12, boxes=30)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.number:02d} {fault.case}")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.timeout(60)
def test_fault(folder, fault):
    source = fault.spoil(folder) or folder
    before = tree_state(source)
    if fault.refused:
        with pytest.raises(fault.refused[0]) as caught:
            api.audit(source, settings=fault.settings)
        assert fault.refused[1] in caught.value.message + caught.value.hint
    else:
        page = folder.parent / "audit.html"
        found = api.audit(source, html=page, settings=fault.settings)
        assert {(f["code"], f["severity"]) for f in found["findings"]} == fault.found
        assert found["quarantined"] == fault.out
        if fault.line is not None:
            (item,) = found["findings"][0]["items"]
            assert (item["file"], item["line"]) == (LABEL, fault.line)
        assert json.loads(json.dumps(found, ensure_ascii=True)) == found
        assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert tree_state(source) == before
    assert not (folder.parent / "canary").exists()


def test_the_table_has_every_fault_that_an_audit_can_see():
    after = {24}  # see below
    assert {fault.number for fault in FAULTS} | after == set(range(1, 51))


@pytest.mark.parametrize("change", [lambda image: image.unlink(), lambda image: image.write_bytes(b"other")])
def test_fault_24_an_image_vanishes_or_changes_after_the_audit(folder, change):
    run = RunDir(folder.parent / "run")
    run.create()
    STAGE.work(StageContext(run, load_config(overrides={"data.source": folder}), Silent()))
    view = load_view(run.stage("split"))
    victim = view.splits["val"][0]
    change(victim.image)
    with pytest.raises(DatasetError, match=victim.image.name):
        verify_view(view)


@pytest.mark.parametrize("case", ["resized", "mirrored", "identical image in two splits"])
def test_faults_47_48_name_both_images(folder, case):
    fault = next(fault for fault in FAULTS if fault.case == case)
    found = api.audit(fault.spoil(folder))
    (item,) = found["findings"][0]["items"]
    pair = [item["partner"], item["file"]]
    assert pair[0] == "images/train/img000.jpg"
    assert pair[1] in ("images/test/img040.jpg", "images/val/img012.jpg")
    assert pair[0] in item["message"]


def test_faults_25_26_count_as_background(folder):
    (folder / LABEL).write_text("")
    (folder / "labels/img004.txt").unlink()
    assert api.audit(folder)["splits"]["none"]["background"] == 2


def test_fault_32_names_the_classes_there_are(folder):
    label("tomato 0.5 0.5 0.1 0.1")(folder)
    message = api.audit(folder)["findings"][0]["items"][0]["message"]
    assert "0 cat, 1 dog" in message
