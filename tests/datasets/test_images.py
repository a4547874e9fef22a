import io
import os
import resource
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import image_bytes, pixels, png_header, write_image
from PIL import Image, ImageFile

from kdyolo.config import AuditSettings
from kdyolo.datasets.images import check_image, find_images, oriented_size, view_bytes
from kdyolo.datasets.sample import ImageCheck
from kdyolo.datasets.tree import scan

AUDIT = AuditSettings()


def check(path: Path, data: bytes | None = None) -> ImageCheck:
    if data is not None:
        path.write_bytes(data)
    return check_image(path, AUDIT)


def codes(result: ImageCheck) -> list[str]:
    return [code for _, code, _ in result.notes]


def seen_by_training(path: Path, result: ImageCheck) -> np.ndarray:
    """RGB pixels as OpenCV reads them from the clean view."""
    data = view_bytes(path.read_bytes(), result.treatment)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1]


def test_a_plain_image_is_linked_as_it_is(tmp_path):
    result = check(tmp_path / "a.jpg", image_bytes())
    assert (result.reason, result.treatment, result.notes, result.suffix) == ("", "link", (), ".jpg")
    assert (result.width, result.height) == (64, 48)
    assert result.sha256 == result.source_sha256
    assert result.size == (tmp_path / "a.jpg").stat().st_size


def test_fault_01_empty_file(tmp_path, monkeypatch):
    def spawned(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", spawned)
    assert check(tmp_path / "a.jpg", b"").reason == "empty_file"


def test_fault_02_text_named_jpg(tmp_path):
    assert check(tmp_path / "a.jpg", b"hello, I am no image\n" * 50).reason == "not_an_image"


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("progressive", [False, True])
def test_fault_03_jpeg_cut(tmp_path, share, progressive):
    data = image_bytes(size=(200, 150), quality=90, progressive=progressive)
    assert check(tmp_path / "a.jpg", data[: int(len(data) * share)]).reason == "truncated"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_fault_03_png_cut(tmp_path):
    data = image_bytes(kind="PNG")
    assert check(tmp_path / "a.png", data[: len(data) // 2]).reason == "truncated"


@pytest.mark.parametrize("length", [3, 12, 100])
def test_fault_04_cut_in_the_header(tmp_path, length):
    assert check(tmp_path / "a.jpg", image_bytes()[:length]).reason == "truncated"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data + b"trailing",
        lambda data: data + b"\0" * 999,
        lambda data: data[:-2],
        lambda data: data[:-1],
        lambda data: data[:-2] + b"\xff\xff",
    ],
    ids=["text", "zeros", "no_eoi", "half_eoi", "fill"],
)
def test_fault_05_jpeg_end_is_mended_without_loss(tmp_path, spoil, progressive):
    whole = image_bytes(progressive=progressive)
    path = tmp_path / "a.jpg"
    result = check(path, spoil(whole))
    assert (result.reason, result.treatment, codes(result)) == ("", "repair", ["repaired"])
    assert path.read_bytes() == spoil(whole)
    assert view_bytes(path.read_bytes(), "repair") == whole
    assert result.sha256 == check(tmp_path / "b.jpg", whole).sha256


def test_fault_05_a_thumbnail_in_the_header_is_not_the_end(tmp_path):
    whole = image_bytes(comment=image_bytes(seed=1))
    assert view_bytes(whole + b"junk", "repair") == whole


def test_fault_07_png_named_jpg(tmp_path):
    result = check(tmp_path / "a.jpg", image_bytes(kind="PNG"))
    assert (result.reason, result.suffix, codes(result)) == ("", ".png", ["extension_mismatch"])


def test_fault_08_cmyk_colours_are_those_of_pillow(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels()).convert("CMYK").save(path, quality=95)
    result = check(path)
    assert result.reason == ""
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(seen_by_training(path, result) - expected).mean() < 2.5


def test_fault_09_sixteen_bit_png(tmp_path):
    path = tmp_path / "a.png"
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    cv2.imwrite(str(path), values)
    result = check(path)
    assert (result.reason, "sixteen_bit" in codes(result)) == ("", True)
    assert np.abs(seen_by_training(path, result)[..., 0].astype(int) - (values >> 8)).max() <= 1


def test_fault_09_sixteen_bit_colour_png(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), pixels().astype(np.uint16)[..., ::-1] * 257)
    result = check(path)
    assert (result.reason, "sixteen_bit" in codes(result)) == ("", True)
    assert np.abs(seen_by_training(path, result).astype(int) - pixels()).max() <= 1


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGBA"])
def test_fault_10_other_modes(tmp_path, mode):
    path = tmp_path / "a.png"
    image = Image.fromarray(pixels()).convert(mode)
    image.save(path)
    result = check(path)
    assert result.reason == ""
    assert ("alpha_dropped" in codes(result)) == (mode in ("LA", "RGBA"))
    assert np.abs(seen_by_training(path, result).astype(int) - np.asarray(image.convert("RGB"))).max() <= 1


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_fault_11_exif_orientation(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write_image(tmp_path / f"a.{kind}", exif=exif.tobytes() if kind != "tif" else exif)
    result = check(path)
    seen = seen_by_training(path, result)
    expected = (48, 64) if orientation >= 5 else (64, 48)
    assert result.reason == ""
    assert (result.width, result.height) == expected == seen.shape[1::-1] == oriented_size(path)
    stored = pixels()
    turned = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.swapaxes(0, 1), 6: np.rot90(stored, -1), 7: np.rot90(stored, 2).swapaxes(0, 1), 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    assert np.abs(seen.astype(int) - turned).mean() < 12


def test_fault_12_too_small(tmp_path):
    assert check(tmp_path / "a.png", image_bytes(size=(9, 9), kind="PNG")).reason == "too_small"
    assert check(tmp_path / "b.png", image_bytes(size=(10, 10), kind="PNG")).reason == ""


def test_fault_13_animated_gif_and_multipage_tiff(tmp_path):
    pages = [Image.fromarray(pixels(i)) for i in range(3)]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert check(tmp_path / "a.gif").reason == "unsupported"
    result = check(tmp_path / "a.tif")
    assert (result.reason, result.suffix, codes(result)) == ("", ".png", ["first_page", "converted"])
    assert np.array_equal(seen_by_training(tmp_path / "a.tif", result), pixels(0))


def test_a_still_gif_becomes_a_png(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "a.gif")
    assert check(tmp_path / "a.gif").suffix == ".png"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12_000, 20_000, 60_000])
def test_fault_14_15_pixel_bombs_are_refused_by_their_header(tmp_path, side):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert check(tmp_path / "a.png", png_header(side, side)).reason == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_fault_16_strip(tmp_path):
    assert check(tmp_path / "a.png", image_bytes(size=(2000, 12), kind="PNG")).reason == "aspect"


def test_fault_17_heic_without_a_decoder(tmp_path):
    result = check(tmp_path / "a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    assert result.reason == "unsupported"
    assert "JPEG" in result.message


def test_eps_is_never_handed_to_a_program(tmp_path):
    assert check(tmp_path / "a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n").reason == "not_an_image"


def test_fault_18_links(tmp_path):
    root = tmp_path / "data"
    write_image(root / "ok.jpg")
    write_image(tmp_path / "secret" / "s.jpg")
    (root / "inside.jpg").symlink_to(root / "ok.jpg")
    (root / "out.jpg").symlink_to(tmp_path / "secret" / "s.jpg")
    (root / "dangling.jpg").symlink_to(root / "nothing.jpg")
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "self").symlink_to(root)
    tree = scan(root)
    assert tree.images == ["inside.jpg", "ok.jpg"]
    assert tree.broken == {"dangling.jpg": "broken_link", "loop.jpg": "broken_link", "out.jpg": "outside_root"}
    assert [finding.code for finding in tree.findings] == ["outside_root"]
    assert scan(root, allow_outside=True).images == ["folder/s.jpg", "inside.jpg", "ok.jpg", "out.jpg"]


@pytest.mark.timeout(20)
def test_fault_19_pipes_and_folders_named_like_images(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    write_image(tmp_path / "folder.jpg" / "in.jpg")
    tree = scan(tmp_path)
    assert tree.images == ["folder.jpg/in.jpg"]
    assert [(f.code, f.file) for f in tree.findings] == [("not_a_file", "folder.jpg"), ("not_a_file", "pipe.jpg")]
    assert check(tmp_path / "pipe.jpg").reason == "not_a_file"


def test_find_images_is_sorted_and_skips_hidden_files(tmp_path):
    for name in ("b/2.JPG", "a.png", "b/1.jpeg", ".hidden.jpg", "__MACOSX/x.jpg", ".cache/y.jpg"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert find_images(tmp_path) == [tmp_path / "a.png", tmp_path / "b/1.jpeg", tmp_path / "b/2.JPG"]


def test_the_same_image_gives_the_same_converted_bytes(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(pixels()).save(buffer, "TIFF")
    first, second = check(tmp_path / "a.tif", buffer.getvalue()), check(tmp_path / "b.tif", buffer.getvalue())
    assert first.sha256 == second.sha256 != first.source_sha256
