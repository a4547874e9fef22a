"""The field's words on a page, for a reader who does not live in it."""

from __future__ import annotations

from kdyolo.language import ENGLISH, Language, mark

_WORDS = {
    mark("Teacher, student"): mark("The large model, and the small one that learned from it."),
    mark("Control"): mark(
        "The student's model trained in the same way without the teacher: what it reaches is no merit of distillation."
    ),
    "cached, online-teacher": mark(
        "How the student heard the teacher beside labels: by its stored answers, or by its answer to every batch. In "
        "brackets the method: what it took over."
    ),
    mark("Arm"): mark("One of the models that are compared."),
    mark("Ground truth, pseudo-labels"): mark(
        "Boxes drawn by people, and boxes that the teacher drew for the student."
    ),
    "IoU": mark("How well two boxes agree: the area they share over the area they cover together, 0 to 1."),
    mark("Confidence, score"): mark(
        "How sure a model says it is of a box, 0 to 1; boxes below a chosen one are not shown."
    ),
    mark("Precision"): mark("Which share of the boxes shown are right."),
    mark("Recall"): mark("Which share of the objects are found."),
    mark("False alarm"): mark("A box that is on no object of its class, or on one that another box has found."),
    "F1": mark("One figure for precision and recall: high only if both are."),
    "mAP50": mark(
        "Precision averaged over all recalls and classes; a box is right from IoU 0.5. No confidence is chosen."
    ),
    "mAP50-95": mark("The same, averaged over IoU 0.5 to 0.95: boxes must also fit closely."),
    mark("Points"): mark("Hundredths: 0.58 are 58 points."),
    mark("95 %% interval"): mark("The range that holds the middle 95 of 100 resampled results."),
    "p50, p95": mark("The time that half, or 95 of 100, of the images stay below."),
    "NMS": mark("Non-maximum suppression: of several boxes on one object, the surest stays."),
    mark("Box loss, class loss, DFL loss"): mark(
        "What training makes small: wrong places, wrong classes, imprecise edges."
    ),
    mark("Background"): mark("An image, or a place in it, without an object."),
    mark("Group"): mark("Images that show the same thing or are copies; they are never divided between splits."),
}


def glossary(language: Language = ENGLISH) -> list[tuple[str, str]]:
    """Word and meaning."""
    return [(language.gettext(word), language.gettext(meaning)) for word, meaning in _WORDS.items()]
