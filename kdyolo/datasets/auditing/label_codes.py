"""Kinds of findings about labels; see `codes`."""

from __future__ import annotations

from kdyolo.datasets.auditing.kinds import ERROR, LINE, NOTE, WARNING, Kind

LABEL_CODES: dict[str, Kind] = {
    "whole_image_boxes": Kind(
        "labels", WARNING, "Boxes over the whole image",
        "Most boxes cover the whole image. A detector trained on them learns to answer the full frame, reaches a "
        "perfect score and finds nothing.",
        "Draw boxes around the objects. If you only know what is in an image and not where, train a classifier.",
    ),
    "one_box_size": Kind(
        "labels", WARNING, "One box size only",
        "Nearly all boxes have the same width and height: they look generated, not drawn around objects.",
        "Compare some boxes with their objects; label the objects if the boxes do not fit.",
    ),
    "missing_label": Kind(
        "labels", ("error", "warning"), "Images without a label file",
        "No label file belongs to the image. It counts as background, or is left out with audit.require_labels: a "
        "forgotten label teaches the model to overlook its objects.",
        "Add the label file; an empty one says that there is nothing to find.",
    ),
    "orphan_label": Kind(
        "labels", WARNING, "Label files without an image",
        "No image belongs to the label file: it was renamed, moved or lost.",
        "Rename or restore the image, or remove the label file.",
    ),
    "label_collision": Kind(
        "labels", ERROR, "Two images, one label file",
        "Images with the same name and different extensions share one label file; nobody can say whose boxes it holds.",
        "Rename one image and give it its own label file.",
    ),
    "bad_encoding": Kind(
        "labels", ERROR, "Label file is not UTF-8",
        "The label file is binary, or text in another encoding.", "Save it as UTF-8 text.",
    ),
    "label_too_large": Kind(
        "labels", ERROR, "Label file too large",
        "The label file is larger than any image could need and was not read.", "Check that it is the file you mean.",
    ),
    "bad_xml": Kind(
        "labels", ERROR, "Not a VOC annotation",
        "The xml file is cut short, no Pascal VOC annotation, or declares entities, which kdyolo does not expand.",
        "Export it again.",
    ),
    "bad_object": Kind(
        "labels", LINE, "Incomplete object", "An object lacks its class name or a side of its box.",
        "Complete or remove that object.",
    ),
    "columns": Kind(
        "labels", LINE, "Wrong number of columns",
        "A line has neither the five columns of a box (class, centre x, centre y, width, height) nor a polygon.",
        "Correct that line, or export the labels again.",
    ),
    "comma": Kind(
        "labels", LINE, "Commas in a label",
        "Columns are separated by commas, or numbers are written with a decimal comma.",
        "Separate columns with blanks and write 0.5, not 0,5.",
    ),
    "not_a_number": Kind(
        "labels", LINE, "Not a number", "A coordinate is no number.", "Correct that line.",
    ),
    "not_finite": Kind(
        "labels", LINE, "NaN or infinite coordinate",
        "A coordinate is NaN, infinite or too large to store; one such box would spoil the whole training.",
        "Correct or remove that line.",
    ),
    "out_of_range": Kind(
        "labels", LINE, "Coordinates outside the image",
        "A coordinate lies well outside 0..1, so the box is not where it is said to be.",
        "Correct that line; coordinates are shares of the image's width and height.",
    ),
    "pixels": Kind(
        "labels", LINE, "Coordinates in pixels",
        "The coordinates look like pixels, where shares of the image are expected.",
        "Divide x and width by the image's width, y and height by its height; or convert the data set with its tool.",
    ),
    "class_id": Kind(
        "labels", LINE, "Unknown class",
        "The class is negative, not a whole number, a name where a number is due, or beyond the list of classes.",
        "Correct the class, or complete the list of names.",
    ),
    "degenerate": Kind(
        "labels", WARNING, "Boxes without area",
        "A box has no width or no height inside the image; it was left out.", "Draw it again or remove that line.",
    ),
    "clipped": Kind(
        "labels", NOTE, "Boxes leaving the image",
        "A box reaches beyond the image; what is outside was cut off.", "Nothing, unless the boxes look shifted.",
    ),
    "duplicate_line": Kind(
        "labels", NOTE, "Boxes given twice",
        "The same box is in the label file twice; one is kept.", "Nothing.",
    ),
    "class_conflict": Kind(
        "labels", WARNING, "One box, two classes",
        "Exactly the same box is labelled with two classes; the model is taught both.", "Keep the right class.",
    ),
    "class_overlap": Kind(
        "labels", WARNING, "Two classes on one object",
        "Boxes of two classes cover each other almost completely (IoU of 0.9 or more).",
        "Look whether these are two objects; else keep the right class.",
    ),
    "box_overlap": Kind(
        "labels", WARNING, "One object boxed twice",
        "Two boxes of one class cover each other almost completely (IoU of 0.9 or more): one object seems to be "
        "labelled twice, and the model is punished for finding it once.",
        "Remove one of the boxes.",
    ),
    "tiny_box": Kind(
        "labels", WARNING, "Tiny boxes",
        "A box is under 3 pixels high or wide when the image is shown to the model at 640 pixels: most are slips of "
        "the mouse, and none can be learnt.",
        "Remove the slips. If the objects are that small, train at a larger image size or on tiles.",
    ),
    "flat_box": Kind(
        "labels", NOTE, "Boxes without contrast",
        "Inside, the box looks like its surroundings: there may be no object, or the box may be shifted. A hint only.",
        "Look at these boxes and correct or remove those that hold nothing.",
    ),
    "confidence_column": Kind(
        "labels", NOTE, "Labels with confidences",
        "A sixth column holds a confidence, as written by a model: these are predictions, not checked labels.",
        "Nothing, if you know that; the confidences are kept beside the split.",
    ),
    "polygon": Kind(
        "labels", NOTE, "Polygons read as boxes",
        "A line holds a polygon; the box around it is used.", "Nothing.",
    ),
    "size_mismatch": Kind(
        "labels", WARNING, "Label made for another size",
        "The annotation states another image size than the image has: it may have been resized or turned after "
        "labelling.",
        "Look whether the boxes still fit; if not, restore the image that was labelled.",
    ),
    "no_boxes": Kind(
        "labels", ERROR, "No box at all",
        "No usable image has a box, so there is nothing to learn.",
        "Check that label files lie where they are expected and are not empty.",
    ),
    "crowded": Kind(
        "labels", NOTE, "Unusually many boxes",
        "An image has far more boxes than the others (beyond Tukey's outer fence).",
        "Look whether the boxes are real; a label file may belong to another image.",
    ),
    "sparse": Kind(
        "labels", NOTE, "Unusually few boxes",
        "An image has far fewer boxes than the others (below Tukey's inner fence): labelling may be unfinished, and "
        "what is not labelled is taught as background.",
        "Look whether objects are missing.",
    ),
    "predictions_only": Kind(
        "labels", WARNING, "Predictions nobody reviewed",
        "A model labelled the image and no person has submitted an annotation; the predictions are used.",
        "Review the image in Label Studio and export again.",
    ),
    "crowd": Kind(
        "labels", NOTE, "Crowd boxes left out",
        "A COCO box with iscrowd stands for a group of objects; it cannot be learnt as one.", "Nothing.",
    ),
    "rotated": Kind(
        "labels", NOTE, "Turned boxes made upright",
        "A box was drawn turned; the upright box around it is used, which is larger.",
        "Draw upright boxes where the difference matters.",
    ),
    "shape_ignored": Kind(
        "labels", NOTE, "Shapes that are no boxes",
        "A point, line or other shape without an area is left out.", "Draw a box if there is an object to find.",
    ),
}  # fmt: skip
"""Code -> what it is."""
