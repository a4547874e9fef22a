"""Open every image of a data set, several at a time."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from kdyolo.config import AuditSettings
from kdyolo.datasets.images import check_image
from kdyolo.datasets.sample import Dataset
from kdyolo.progress import Progress


def check_images(dataset: Dataset, audit: AuditSettings, progress: Progress) -> None:
    """Open every usable image, note what it is, and quarantine those that cannot be used."""
    samples = dataset.usable
    progress.start("Checking images", len(samples))
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        checks = pool.map(lambda sample: check_image(sample.image, audit), samples)
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
