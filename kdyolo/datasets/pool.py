"""A folder of images without labels, for the teacher to label: checked, and free of what is already in a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kdyolo.config import AuditSettings
from kdyolo.datasets.duplicates import components, find_pairs
from kdyolo.datasets.image_checks import check_images
from kdyolo.datasets.images import find_images
from kdyolo.datasets.sample import Dataset, Sample, printable
from kdyolo.datasets.view import ViewImage
from kdyolo.errors import DatasetError
from kdyolo.progress import Progress

_HELD_OUT = ("test", "val")


def read_pool(folder: Path, known: Iterable[ViewImage], audit: AuditSettings, progress: Progress) -> Dataset:
    """Read and check the images of a folder.

    Left out is an image identical to one of the run's own (``duplicate_of_train``, ``_val``, ``_test``) or to an
    earlier one of the pool (``duplicate_of_pool``), and one that shows the same picture as a val or test image, be it
    resized, recompressed, brightened or mirrored (``near_duplicate_of_val``, ``_test``): to label it and train on it
    would be a leak. So would be a chain of such copies, hence what belongs together through other pool images goes as
    a whole. Near duplicates of train images stay: they teach little that is new, but give nothing away.

    Args:
        folder: Images at any depth; label files in it are not read.
        known: Images of the run's splits.
        audit: Limits on images.
        progress: Whom to tell.

    Raises:
        DatasetError: The folder cannot be read or holds no usable image.
    """
    paths = find_images(folder)
    samples = [Sample(image=path, name=path.relative_to(folder.resolve()).as_posix()) for path in paths]
    pool = Dataset(root=folder.resolve(), format="images", names=(), samples=samples)
    check_images(pool, audit, progress)
    own = list(known)
    _reject_identical(pool, own)
    _reject_near(pool, [image for split in _HELD_OUT for image in own if image.split == split])
    if not pool.usable:
        raise DatasetError(f"No image in {folder} can be labelled.", "Give --images a folder of new images.")
    return pool


def _reject_identical(pool: Dataset, known: Sequence[ViewImage]) -> None:
    seen = {image.sha256: image.split for image in known}
    for sample in pool.usable:
        where = seen.get(sample.check.sha256)
        seen.setdefault(sample.check.sha256, "pool")
        if where is not None:
            _reject(pool, sample, f"duplicate_of_{where}", f"The same image is already in {where}: left out.")


def _reject_near(pool: Dataset, held_out: Sequence[ViewImage]) -> None:
    samples = pool.usable
    looks = [*(image.signature for image in held_out), *(sample.check.signature for sample in samples)]
    first_alike = components(len(looks), ((pair.first, pair.second) for pair in find_pairs(looks)))
    for sample, first in zip(samples, first_alike[len(held_out) :], strict=True):
        if first < len(held_out):
            image = held_out[first]
            message = f"It shows the same as {printable(image.source)}, which is in {image.split}: left out."
            _reject(pool, sample, f"near_duplicate_of_{image.split}", message)


def _reject(pool: Dataset, sample: Sample, code: str, message: str) -> None:
    sample.reject(code)
    pool.add(code, "note", sample.name, message)
