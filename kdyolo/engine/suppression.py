"""Non-maximum suppression: ultralytics' own, without its time limit, and no slower for a model that knows nothing."""

from __future__ import annotations

from typing import Any

from ultralytics.utils.nms import non_max_suppression

_FEW, _MOST = 1000, 30000


def suppress(
    output: Any, conf: float, iou: float, *, multi_label: bool, max_det: int, nc: int, few: int = _FEW
) -> list[Any]:
    """The best boxes of each image: a list of B tensors (n, 6) of x1, y1, x2, y2, score, class, n <= `max_det`.

    What is kept of the best k candidates does not depend on the ones below them. So the best `few` are judged first,
    and more (at most the library's 30000) only for an image where that leaves fewer than `max_det` boxes. A model in
    its first epochs scores tens of thousands of boxes alike; judging all pairs of them takes longer than the network.

    Args:
        output: Decoded boxes and scores (B, 4 + nc, A): centre and size in px, scores in [0, 1].
        conf: Candidates that score this or less are dropped.
        iou: Candidates that overlap a better one of their class by more are dropped.
        multi_label: Let one box stand for several classes; otherwise for its best one.
        max_det: Most boxes of an image.
        nc: Number of classes.
        few: How many candidates are judged first; at least `max_det`.
    """

    def judge(rows: Any, limit: int) -> list[Any]:
        # The library gives up on the rest of a batch after a time limit; on a busy machine that loses boxes.
        found: list[Any] = non_max_suppression(
            rows, conf, iou, multi_label=multi_label, max_det=max_det, nc=nc, max_nms=limit, max_time_img=3600.0
        )
        return found

    found = judge(output, few)
    candidates = output[:, 4 : 4 + nc] > conf
    counts = candidates.sum((1, 2)) if multi_label else candidates.any(1).sum(1)
    for index, count in enumerate(counts.tolist()):
        limit = few
        while limit < min(count, _MOST) and len(found[index]) < max_det:
            limit *= 2
            found[index] = judge(output[index : index + 1], min(limit, _MOST))[0]
    return found
