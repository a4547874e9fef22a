"""Kinds of findings about all images together: splits, copies, classes; see `codes`."""

from __future__ import annotations

from kdyolo.datasets.auditing.kinds import COPY, ERROR, LEAK, NOTE, WARNING, Kind

SET_CODES: dict[str, Kind] = {
    "split_leak": Kind(
        "splits", LEAK, "Identical images in two splits",
        "An image of val or test is byte for byte an image of an earlier split, or is listed in both. The model is "
        "then measured on what it has learnt by heart, and every figure is too good.",
        "Let kdyolo make the splits (`kdyolo split`, without --keep-splits), which keeps copies together; or mend "
        "yours with `kdyolo split --repair`, which moves the fewest images.",
    ),
    "near_leak": Kind(
        "splits", LEAK, "Near copies in two splits",
        "An image of val or test is a resized, recompressed, brightened or mirrored copy of an image of an earlier "
        "split, or the next frame of it. That measures memory as well, only less visibly.",
        "Look at the pairs. Then let kdyolo make the splits (`kdyolo split`), or mend yours (`kdyolo split --repair`).",
    ),
    "source_leak": Kind(
        "splits", COPY, "One source in two splits",
        "By their names, images of two splits were made from one source: frames of one video, or variants of one "
        "photograph that were augmented before the split.",
        "Let kdyolo make the splits, which keeps such groups together. If the names mislead, ignore it.",
    ),
    "group_leak": Kind(
        "splits", ERROR, "One group in two splits",
        "By the rule or table given with --group-by, an image of val or test is of one group with an image of an "
        "earlier split.",
        "Mend the splits with --repair, let kdyolo make them, or correct the groups.",
    ),
    "source_divided": Kind(
        "splits", WARNING, "Source that must be divided",
        "By their names, nearly all images are of one source or of few, so that a split by source is not possible; "
        "images of one source are in several splits.",
        "Name groups that can be kept apart with --group-by, for example parts of a long video, or add other sources.",
    ),
    "large_group": Kind(
        "splits", WARNING, "Group larger than a split",
        "Images that belong together are more than the largest split should hold, so that the splits cannot have the "
        "sizes that were asked for.",
        "Look at what holds the group together; finer groups can be named with --group-by.",
    ),
    "no_group": Kind(
        "splits", WARNING, "Images in no group",
        "The rule or table given with --group-by says nothing of these images; each counts as a group of its own.",
        "Complete the rule or table, if they belong to a group.",
    ),
    "moved": Kind(
        "splits", NOTE, "Images moved to mend splits",
        "The image was moved to another split, or taken out of one, so that no group spans two splits (--repair).",
        "Nothing.",
    ),
    "not_in_a_split": Kind(
        "splits", WARNING, "Images in no split",
        "The data set has splits of its own, but these images are in none of them.",
        "Add them to a split, or let kdyolo make the splits.",
    ),
    "split_carved": Kind(
        "splits", NOTE, "A missing split was made",
        "The data set's own splits lack one, so part of train became it.",
        "Nothing, unless you have that split elsewhere.",
    ),
    "identical_image": Kind(
        "copies", COPY, "Identical images",
        "The same image is there more than once. Copies weigh double in training and must never be in two splits.",
        "Keep one of them. `kdyolo split` keeps copies together if you leave them.",
    ),
    "near_duplicate": Kind(
        "copies", COPY, "Near copies",
        "Two images show almost the same: resized, recompressed, brightened, or taken a moment later.",
        "Keep one of them, or leave them: `kdyolo split` keeps near copies together.",
    ),
    "flipped_copy": Kind(
        "copies", COPY, "Mirrored copies",
        "One image is another one mirrored: left to right, upside down, or both. Training mirrors images by itself.",
        "Keep one of them, or leave them: `kdyolo split` keeps mirrored copies together.",
    ),
    "same_source": Kind(
        "copies", NOTE, "Images of one source",
        "By their names, these images are frames of one video or variants of one photograph: they say less than their "
        "number promises.",
        "Nothing: `kdyolo split` keeps them together.",
    ),
    "labels_differ": Kind(
        "copies", WARNING, "Copies with other labels",
        "Identical images have different boxes, so at least one label file is wrong.",
        "Keep the image whose labels are right.",
    ),
    "duplicate_of_train": Kind(
        "copies", NOTE, "Pool image already in train",
        "An unlabelled image is already in the train split; it was left out of the pool.", "Nothing.",
    ),
    "duplicate_of_val": Kind(
        "copies", NOTE, "Pool image already in val",
        "An unlabelled image is already in the val split; training on it would be a leak, so it was left out.",
        "Nothing.",
    ),
    "duplicate_of_test": Kind(
        "copies", NOTE, "Pool image already in test",
        "An unlabelled image is already in the test split; training on it would be a leak, so it was left out.",
        "Nothing.",
    ),
    "near_duplicate_of_val": Kind(
        "copies", NOTE, "Pool image nearly as in val",
        "An unlabelled image shows the same as an image of the val split; training on it would be a leak, so it was "
        "left out.",
        "Nothing.",
    ),
    "near_duplicate_of_test": Kind(
        "copies", NOTE, "Pool image nearly as in test",
        "An unlabelled image shows the same as an image of the test split; training on it would be a leak, so it was "
        "left out.",
        "Nothing.",
    ),
    "duplicate_of_pool": Kind(
        "copies", NOTE, "Pool image there twice",
        "An unlabelled image is in the pool twice; one is kept.", "Nothing.",
    ),
    "no_names": Kind(
        "classes", WARNING, "No class names",
        "The data set does not name its classes; they are called class0, class1, ...",
        "Add a data.yaml with names, or a classes.txt.",
    ),
    "unused_class": Kind(
        "classes", WARNING, "Class without a box",
        "A class is in the list of names, but no box has it. It can neither be learnt nor measured.",
        "Remove it from the names, label it, or look whether class numbers are shifted.",
    ),
    "one_class": Kind(
        "classes", NOTE, "One class only",
        "All boxes have one class, so only finding is learnt and not telling apart.", "Nothing, if that is meant.",
    ),
    "class_imbalance": Kind(
        "classes", COPY, "Uneven classes",
        "The most frequent class has many times the boxes of the rarest (a note from 10 times, a warning from 50): "
        "the rare one is easily overlooked, and the mean over classes hangs on a few boxes.",
        "Add images of the rare class, or judge the result class by class.",
    ),
    "rare_class": Kind(
        "classes", WARNING, "Class too rare to measure",
        "A class has under 10 boxes in val, under 20 in test or none in train; or, where kdyolo is yet to make the "
        "splits, too few for that. Its figures move by chance, and it cannot be compared.",
        "Add images of that class, give val and test a larger share, or do not rely on that class's figures.",
    ),
    "many_empty": Kind(
        "classes", WARNING, "Mostly empty images",
        "More than half of the images have no box. Some background helps; this much slows training, and may be labels "
        "that were not found.",
        "Check that the label files were found; else leave out some empty images.",
    ),
}  # fmt: skip
"""Code -> what it is."""
