"""An audit that is not done twice: of a data set in which no file has changed the result is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kdyolo
from kdyolo.config import Config, stable_hash
from kdyolo.datasets import check_cache
from kdyolo.datasets.auditing.audit import summarise
from kdyolo.datasets.auditing.checks import audit_dataset
from kdyolo.datasets.check_cache import CheckCache, settled
from kdyolo.datasets.fingerprint import fingerprint
from kdyolo.datasets.formats.detect import read
from kdyolo.progress import Progress


def summary(source: Path, config: Config, limit: int | None, progress: Progress) -> dict[str, Any]:
    """Audit a data set as it is, or say again what was found when its files were those they are.

    Args:
        source: Its folder, or its data.yaml.
        config: ``data``, ``audit`` and ``split.ratios`` count.
        limit: Findings of one kind to list; None lists all.
        progress: Whom to tell.

    Returns:
        See `summarise`.

    Raises:
        KdyoloError: The data set cannot be read at all.
    """
    files, newest = fingerprint(source, config.data)
    settings = config.model_dump(mode="json", include={"data": True, "audit": True, "split": {"ratios"}})
    key = stable_hash([check_cache.VERSION, kdyolo.__version__, str(source.resolve()), files, settings, limit])
    with CheckCache(config.audit) as cache:
        kept: dict[str, Any] | None = cache.audit(key)
    if kept is not None:
        progress.note("No file has changed since the last audit; --no-cache looks at them all again.")
        return kept
    dataset = read(source, config.data, config.audit)
    audit_dataset(dataset, config.audit, config.split.ratios, progress)
    found = summarise(dataset, limit)
    if settled(newest) and fingerprint(source, config.data)[0] == files:
        with CheckCache(config.audit) as cache:
            cache.remember_audit(key, found)
    return found
