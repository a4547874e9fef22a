"""Open every image of a data set, several at a time, and none that was opened before and has not changed."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kdyolo.config import AuditSettings
from kdyolo.datasets.check_cache import CheckCache, digest, stamp
from kdyolo.datasets.images import check_image
from kdyolo.datasets.sample import Dataset, ImageCheck
from kdyolo.progress import Progress

_AT_ONCE = 512
"""Images whose results are kept before they are written down; a stopped check loses no more than these."""


def check_images(dataset: Dataset, audit: AuditSettings, progress: Progress) -> None:
    """Look at every usable image, note what it is, and quarantine those that cannot be used."""
    samples = dataset.usable
    progress.start("Checking images", len(samples))
    # Decoding lets go of the interpreter's lock, so threads use all cores; more of them than cores fill its gaps.
    pool = ThreadPoolExecutor(max_workers=4 * (os.cpu_count() or 1))
    try:
        with CheckCache(audit) as cache:
            checks = _look([sample.image for sample in samples], audit, cache, pool)
            for done, (sample, check) in enumerate(zip(samples, checks, strict=True), 1):
                sample.check = check
                if check.reason:
                    sample.reject(check.reason)
                    dataset.add(check.reason, "error", sample.name, check.message)
                for severity, code, message in check.notes:
                    dataset.add(code, severity, sample.name, message)
                progress.update(done)
    finally:
        pool.shutdown(cancel_futures=True)
        progress.finish()


def _look(
    paths: Sequence[Path], audit: AuditSettings, cache: CheckCache, pool: ThreadPoolExecutor
) -> Iterator[ImageCheck]:
    """The check of each image, in order; never more than `_AT_ONCE` are under way."""
    judge = functools.partial(check_image, audit=audit)
    for start in range(0, len(paths), _AT_ONCE):
        chunk = paths[start : start + _AT_ONCE]
        stamps = [stamp(path) for path in chunk]  # before the bytes are read: a change meanwhile must not go unseen
        checks = cache.of_files(chunk, stamps)
        changed = [i for i, check in enumerate(checks) if check is None]
        if cache.holds_checks:
            for i, sha256 in zip(changed, pool.map(digest, [chunk[i] for i in changed]), strict=True):
                checks[i] = cache.of_bytes(chunk[i], sha256)
        unknown = [i for i in changed if checks[i] is None]
        for i, judged in zip(unknown, pool.map(judge, [chunk[i] for i in unknown]), strict=True):
            checks[i] = judged
        cache.remember((chunk[i], stamps[i], check) for i in changed if (check := checks[i]) is not None)
        yield from (check for check in checks if check is not None)
