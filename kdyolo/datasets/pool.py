"""A folder of images without labels, for the teacher to label: checked, and free of what is already in a split."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kdyolo.config import AuditSettings
from kdyolo.datasets.image_checks import check_images
from kdyolo.datasets.images import find_images
from kdyolo.datasets.sample import Dataset, Sample
from kdyolo.datasets.view import ViewImage
from kdyolo.errors import DatasetError
from kdyolo.progress import Progress


def read_pool(folder: Path, known: Iterable[ViewImage], audit: AuditSettings, progress: Progress) -> Dataset:
    """Read and check the images of a folder.

    An image identical to one of the run's own, or to an earlier one of the pool, is left out: labelling a copy of a
    test image and training on it would be a leak.

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
    seen = {image.sha256: image.split for image in known}
    for sample in pool.usable:
        where = seen.get(sample.check.sha256)
        seen.setdefault(sample.check.sha256, "pool")
        if where is not None:
            sample.reject(f"duplicate_of_{where}")
            pool.add(f"duplicate_of_{where}", "note", sample.name, f"The same image is already in {where}: left out.")
    if not pool.usable:
        raise DatasetError(f"No image in {folder} can be labelled.", "Give --images a folder of new images.")
    return pool
