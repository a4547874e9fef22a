"""Splits by chance, by iterative stratification and by kdyolo: what leaks, and how even the classes are.

    pip install 'kdyolo[bench]'
    python scripts/bench_split.py DATASET [DATASET ...] --seeds 10

Every data set, and a made one with a long tail of classes and planted copies and videos, is divided 0.7 / 0.15 / 0.15
with each seed. Leaks are images of val or test that belong together with an image of an earlier split: in the made set
as planted, else identical and near copies as kdyolo finds them. The worst deviation is the largest difference between
a split's share of the boxes of a class and its ratio. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from kdyolo.config import SplitSettings, load_config
from kdyolo.datasets.auditing.checks import check_files
from kdyolo.datasets.formats.detect import read
from kdyolo.datasets.sample import SPLITS, Dataset, ImageCheck, Sample
from kdyolo.datasets.signatures import signature
from kdyolo.datasets.splits.deviation import class_deviations, least_deviations
from kdyolo.datasets.splits.features import features
from kdyolo.datasets.splits.grouping import Group, group_identical, group_images, label_links, leaks
from kdyolo.datasets.splits.linking import find_links
from kdyolo.datasets.splits.splitting import split_dataset
from kdyolo.progress import Silent

RATIOS = (0.7, 0.15, 0.15)
Placed = dict[str, list[Sample]]


@dataclass(frozen=True)
class Case:
    """A data set, and which of its images truly belong together."""

    name: str
    dataset: Dataset
    truth: list[Group]


def by_chance(case: Case, seed: int) -> Placed:
    """Shuffle the images and cut the list."""
    samples = case.dataset.usable
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    cuts = [0, *np.cumsum(np.array(RATIOS) * len(samples)).round().astype(int).tolist()]
    return {name: [samples[i] for i in order[a:b]] for name, a, b in zip(SPLITS, cuts, cuts[1:], strict=False)}


def by_iteration(case: Case, seed: int) -> Placed:
    """Sechidis et al. 2011 as the package iterative-stratification has it, over images and the classes in them."""
    return _iterate(case, [[sample] for sample in case.dataset.usable], seed)


def by_iteration_of_groups(case: Case, seed: int) -> Placed:
    """The same over kdyolo's groups: what is left of the difference when nothing may leak."""
    links = find_links(case.dataset, SplitSettings())
    return _iterate(case, [list(group.samples) for group in group_images(case.dataset.usable, links)], seed)


def by_kdyolo(case: Case, seed: int) -> Placed:
    """What `kdyolo split` does."""
    rows = split_dataset(case.dataset, SplitSettings(ratios=RATIOS, seed=seed)).rows
    return {name: [sample for split, _, sample in rows if split == name] for name in SPLITS}


METHODS: dict[str, Callable[[Case, int], Placed]] = {
    "random": by_chance,
    "iterative-stratification": by_iteration,
    "the same, of kdyolo's groups": by_iteration_of_groups,
    "kdyolo": by_kdyolo,
}


def _iterate(case: Case, groups: Sequence[Sequence[Sample]], seed: int) -> Placed:
    try:
        stratify = importlib.import_module("iterstrat.ml_stratifiers").IterativeStratification
    except ImportError:
        raise SystemExit("iterative-stratification is not installed: pip install 'kdyolo[bench]'") from None
    nc = len(case.dataset.names)
    has = [np.bincount(np.concatenate([s.cls for s in group]), minlength=nc) > 0 for group in groups]
    chosen = stratify(np.array(has), np.array(RATIOS), np.random.RandomState(seed))
    return {
        name: [s for group, part in zip(groups, chosen, strict=True) if part == i for s in group]
        for i, name in enumerate(SPLITS)
    }


def real(folder: Path) -> Case:
    """A data set as it lies; images that are the same by kdyolo's search belong together."""
    config = load_config(overrides={"data.source": str(folder)})
    dataset = read(folder, config.data, config.audit)
    check_files(dataset, config.audit, Silent())
    links = find_links(dataset, SplitSettings(name_patterns=False))
    return Case(folder.name, dataset, group_images(dataset.usable, links))


def made(images: int = 1200, nc: int = 12) -> Case:
    """A long tail of classes (1 / rank^1.3); a tenth of the images have copies, a quarter are frames of videos."""
    rng = np.random.default_rng(0)
    tail = 1 / np.arange(1, nc + 1) ** 1.3
    samples: list[Sample] = []
    origin: dict[str, str] = {}

    def add(name: str, of: str, cls: NDArray[np.int64], picture: Image.Image, content: str) -> None:
        digest = hashlib.sha256(content.encode()).hexdigest()
        check = ImageCheck(sha256=digest, width=640, height=480, signature=signature(picture))
        sides = np.random.default_rng(len(samples)).uniform(0.02, 0.4, (len(cls), 2))
        boxes = np.column_stack([np.full((len(cls), 2), 0.5), sides])
        samples.append(Sample(Path(name), name, cls=cls, xywhn=boxes, check=check))
        origin[name] = of

    for i in range(images):
        video = f"video{i % 12}" if i < images // 4 else ""
        name = f"{video}_{i:04d}.jpg" if video else f"IMG_{i:04d}.jpg"
        cls = rng.choice(nc, size=int(rng.poisson(2.5)), p=tail / tail.sum()).astype(np.int64)
        blobs = Image.fromarray(rng.integers(20, 236, (6, 8, 3), dtype=np.uint8))
        picture = blobs.resize((160, 120), Image.Resampling.BICUBIC)
        add(name, video or name, cls, picture, name)
        if i >= images * 9 // 10:
            add(f"same_{name}", name, cls, picture, name)
            smaller = ImageEnhance.Brightness(picture.resize((96, 72))).enhance(1.05)
            add(f"near_{name}", name, cls, smaller, f"near {name}")
    samples.sort(key=lambda sample: sample.name)
    dataset = Dataset(Path("made"), "yolo", tuple(f"class{i}" for i in range(nc)), samples)
    links = label_links(samples, origin, "rule")
    return Case("made, skewed", dataset, group_images(samples, links))


def deviation(case: Case, placed: Placed) -> float:
    """Worst deviation of a class's boxes from the ratios."""
    groups = [group_identical(placed[name]) for name in SPLITS]
    table = features([group for part in groups for group in part], len(case.dataset.names))
    boxes = table.sums(np.repeat(np.arange(len(groups)), [len(part) for part in groups]), len(groups))[:, table.boxes]
    return float(class_deviations(boxes, np.array(RATIOS)).max())


def measure(case: Case, seeds: int) -> list[str]:
    """Rows of the table."""
    table = features(case.truth, len(case.dataset.names))
    least = float(least_deviations(table.totals[table.boxes], np.array(RATIOS)).max())
    rows = []
    for name, divide in METHODS.items():
        found, off, seconds = [], [], []
        for seed in range(seeds):
            start = time.perf_counter()
            placed = divide(case, seed)
            seconds.append(time.perf_counter() - start)
            found.append(len({leak.sample.name for leak in leaks(placed, case.truth)}))
            off.append(deviation(case, placed))
        size = f"{case.name} ({len(case.dataset.usable)} images, {len(case.dataset.names)} classes)"
        rows.append(
            f"| {size} | {name} | {statistics.mean(found):.1f} ({max(found)}) | {100 * statistics.mean(off):.2f} % "
            f"({100 * max(off):.2f} %) | {100 * least:.2f} % | {statistics.mean(seconds):.2f} |"
        )
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="*", help="folders of labelled data sets")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    print("| data set | method | images that leak: mean (most) | worst deviation: mean (most) | least possible | s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in (*map(real, arguments.datasets), made()):
        for row in measure(case, arguments.seeds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
