"""Near duplicates among many images: the same picture resized, recompressed, brightened, blurred or mirrored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdyolo.datasets.signatures import (
    CODE_BITS,
    FLIPS,
    LENGTH,
    Codes,
    Details,
    Thumbnails,
    codes,
    details,
    is_flat,
    thumbnails,
)

Kind = Literal["near", "flipped"]
Indices = NDArray[np.int64]

RADIUS = 7  # bits
ALIKE = 0.9  # correlation of details
_PARTS = 4
_PART_BITS = CODE_BITS // _PARTS
_PARTNERS = 32
_BLOCK = 1 << 19  # candidates at a time
_LOOKS = 1 << 13  # pairs of thumbnails at a time
_BIT_COUNT = np.array([value.bit_count() for value in range(1 << _PART_BITS)], dtype=np.uint8)


class Pair(NamedTuple):
    """Two images that show the same picture.

    Attributes:
        first, second: Their indices, first < second.
        kind: ``near``, or ``flipped`` where one is the other mirrored left-right, up-down or both.
        distance: Bits in which their hashes differ (0-7), after mirroring where they are flipped.
    """

    first: int
    second: int
    kind: Kind
    distance: int


def find_pairs(signatures: Sequence[bytes]) -> list[Pair]:
    """Near duplicates among images.

    A pair's hashes differ in at most 7 of 64 bits and the correlation of its details is at least 0.9, see
    `signatures`. Time grows with the number of images and of look-alikes, not with its square.

    Args:
        signatures: From `signatures.signature`. Images that show nothing, and those whose signature is empty, have no
            near duplicates.

    Returns:
        Pairs in order of first and second. Where more than a few images show the same not all their pairs are listed,
        but always enough for `components` to tell what belongs together.
    """
    members: dict[bytes, list[int]] = {}
    for index, signature in enumerate(signatures):
        if len(signature) == LENGTH:
            members.setdefault(signature, []).append(index)
    # In order of content, so that the order of the images cannot matter.
    unique = sorted(members)
    if not unique:
        return []
    grey = thumbnails(unique)
    showing = ~is_flat(grey)
    groups = [members[signature] for signature, shows in zip(unique, showing.tolist(), strict=True) if shows]
    pairs = [Pair(a, b, "near", 0) for group in groups for a, b in _some(group, group)]
    for i, j, kind, distance in _search(grey[showing]):
        pairs += (Pair(min(a, b), max(a, b), kind, distance) for a, b in _some(groups[i], groups[j]))
    return sorted(pairs)


def _some(group: list[int], other: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of images of two groups, each alike in itself: all pairs if they are not too many, else as many as needed.

    Args:
        group: Images in order.
        other: Another group, or the same.
    """
    few = len(group) * len(other) <= _PARTNERS
    if group is other:
        yield from combinations(group, 2) if few else ((group[0], copy) for copy in group[1:])
    else:
        yield from product(group, other) if few else [(group[0], other[0])]


def components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """The smallest index of each index's component.

    Args:
        count: Number of indices.
        pairs: Indices that belong together.
    """
    forest = list(range(count))
    for first, second in pairs:
        _join(forest, first, second)
    return [_root(forest, index) for index in range(count)]


def _root(forest: list[int], index: int) -> int:
    while forest[index] != index:
        forest[index] = forest[forest[index]]
        index = forest[index]
    return index


def _join(forest: list[int], first: int, second: int) -> bool:
    """Put two components under the smaller root; False where they are one already."""
    a, b = _root(forest, first), _root(forest, second)
    forest[max(a, b)] = min(a, b)
    return a != b


def _search(grey: Thumbnails) -> Iterator[tuple[int, int, Kind, int]]:
    """Pairs (i < j) of thumbnails (N, 16, 18), all different, that show the same picture."""
    forest, partners = list(range(len(grey))), np.zeros(len(grey), dtype=np.int64)
    found: set[tuple[int, int]] = set()
    hashes, fine = codes(grey), details(grey)
    for flip, other in zip((None, *FLIPS), hashes, strict=True):
        kind: Kind = "flipped" if flip else "near"
        for i, j, distance in _close(hashes[0], other):
            # Nothing is learnt from one more pair of images that have many partners and are known to belong together.
            worth = np.maximum(partners[i], partners[j]) < _PARTNERS
            if not worth.all():
                roots = _roots(forest)
                worth |= roots[i] != roots[j]
            for a, b, d in _alike(fine, flip or (0, 0), i[worth], j[worth], distance[worth]):
                if (a, b) in found or not (_join(forest, a, b) or max(partners[a], partners[b]) < _PARTNERS):
                    continue
                found.add((a, b))
                partners[[a, b]] += 1
                yield a, b, kind, d


def _roots(forest: list[int]) -> Indices:
    roots = np.array(forest)
    while (up := roots[roots]).tobytes() != roots.tobytes():
        roots = up
    return roots


def _alike(
    fine: Details, flip: tuple[int, int], first: Indices, second: Indices, distance: Indices
) -> Iterator[tuple[int, int, int]]:
    """Those of the candidates whose details agree, the second one mirrored."""
    mirrored = (slice(None), *(slice(None, None, -1 if mirror else 1) for mirror in flip))
    for start in range(0, len(first), _LOOKS):
        i, j, d = (values[start : start + _LOOKS] for values in (first, second, distance))
        same = np.einsum("nyx,nyx->n", fine[i], fine[j][mirrored]) >= ALIKE
        yield from zip(i[same].tolist(), j[same].tolist(), d[same].tolist(), strict=True)


def _close(own: Codes, other: Codes) -> Iterator[tuple[Indices, Indices, Indices]]:
    """Blocks of (i, j, distance) with i < j and at most 7 different bits between own[i] and other[j], each pair once.

    Multi-index hashing (M. Norouzi, A. Punjani, D. Fleet, "Fast search in Hamming space with multi-index hashing",
    CVPR 2012): codes that differ in at most 7 bits differ in at most one bit in one of their four 16-bit parts.
    """
    own_parts, other_parts = (code.view(np.uint16).reshape(-1, _PARTS) for code in (own, other))
    for part in range(_PARTS):
        order = np.argsort(other_parts[:, part], kind="stable")
        starts = np.searchsorted(other_parts[order, part], np.arange((1 << _PART_BITS) + 1))
        for mask in (0, *(1 << bit for bit in range(_PART_BITS))):
            keys = own_parts[:, part] ^ np.uint16(mask)
            for i, k in _ranges(starts[keys], starts[keys.astype(np.int64) + 1]):
                j = order[k]
                i, j = i[i < j], j[i < j]
                bits = _BIT_COUNT[(own[i] ^ other[j]).view(np.uint16)].reshape(-1, _PARTS)
                distance = bits.sum(axis=1, dtype=np.int64)
                # Where an earlier part is as close, the pair has been seen.
                good = (distance <= RADIUS) & (bits[:, :part] > 1).all(axis=1)
                if good.any():
                    yield i[good], j[good], distance[good]


def _ranges(starts: Indices, stops: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Blocks of (i, k) for every i and every k from starts[i] up to stops[i]."""
    counts = stops - starts
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        some = counts[begin:end]
        i = np.repeat(np.arange(begin, end), some)
        yield i, np.arange(len(i)) + np.repeat(starts[begin:end] - (ends[begin:end] - some - before), some)
        begin = end
