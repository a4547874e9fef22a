"""Kinds of findings about image files, descriptions and folders; see `codes`."""

from __future__ import annotations

from kdyolo.datasets.auditing.kinds import ERROR, NOTE, WARNING, Kind

FILE_CODES: dict[str, Kind] = {
    "mixed_sizes": Kind(
        "images", NOTE, "Very different image sizes",
        "The largest images are many times as large as the smallest. All are scaled to one size for training, so that "
        "objects of one kind appear in very different sizes.",
        "Nothing, if the objects fill the images alike; else cut the large ones into tiles.",
    ),
    "empty_file": Kind(
        "images", ERROR, "Empty file", "The image file has no content.", "Restore or remove it.",
    ),
    "not_an_image": Kind(
        "images", ERROR, "Not an image",
        "The file has the name of an image but holds something else.", "Restore or remove it.",
    ),
    "truncated": Kind(
        "images", ERROR, "Image cut short",
        "The image data end too early, as after an interrupted copy.", "Copy it again from its source, or remove it.",
    ),
    "corrupt": Kind(
        "images", ERROR, "Damaged image",
        "The image cannot be decoded.", "Copy it again from its source, or remove it.",
    ),
    "too_small": Kind(
        "images", ERROR, "Image too small", "The image is smaller than audit.min_side.",
        "Remove it, or lower audit.min_side.",
    ),
    "too_large": Kind(
        "images", ERROR, "Image too large",
        "The image has more than audit.max_pixels pixels, or more than 1 GB; it was not opened.",
        "Cut it into tiles, or raise audit.max_pixels.",
    ),
    "aspect": Kind(
        "images", ERROR, "Image is a strip",
        "The longer side is over audit.max_aspect times the shorter; nothing is left of it at training size.",
        "Cut it into pieces, or raise audit.max_aspect.",
    ),
    "unsupported": Kind(
        "images", ERROR, "Unsupported kind of image",
        "The image is of a kind that is not read here: animated, HEIC, or with values that are no colours.",
        "Export it as JPEG or PNG.",
    ),
    "unreadable": Kind(
        "images", ERROR, "File cannot be read",
        "The system does not let the image or its label file be read.", "Check its permissions and the disk.",
    ),
    "not_a_file": Kind(
        "images", ("error", "warning"), "Not a file",
        "Something with the name of an image is a folder, pipe or device; it was not opened.", "Remove or rename it.",
    ),
    "missing_image": Kind(
        "images", ("error", "warning"), "Listed image is missing",
        "A list or annotation names an image that does not exist.", "Restore the image, or remove it from the list.",
    ),
    "outside_root": Kind(
        "images", ("error", "warning"), "Link out of the folder",
        "A link leads out of the data set's folder; it was not followed.",
        "Copy what it leads to into the folder, or accept it with --allow-outside.",
    ),
    "broken_link": Kind(
        "images", ERROR, "Broken link", "A link leads nowhere or to itself.", "Restore its target, or remove the link.",
    ),
    "unreadable_folder": Kind(
        "images", WARNING, "Folder cannot be read",
        "The system does not let this folder be read; what it holds is left out.", "Check its permissions.",
    ),
    "case_only_name": Kind(
        "images", WARNING, "Names differing in case only",
        "Two names differ in upper and lower case only; on many systems one file would replace the other.",
        "Rename one of them.",
    ),
    "extension_mismatch": Kind(
        "images", WARNING, "Wrong extension",
        "The file's extension names another kind of image than it holds. kdyolo goes by the content.",
        "Rename it, for the sake of other programs.",
    ),
    "repaired": Kind(
        "images", NOTE, "JPEG end mended",
        "The JPEG lacks its end mark or has data behind it. The copy in the run is mended, the file is untouched.",
        "Nothing.",
    ),
    "converted": Kind(
        "images", NOTE, "Converted to PNG",
        "Programs read this kind of image differently (colours, orientation, depth), so that the run holds an 8-bit "
        "RGB copy of it.",
        "Nothing.",
    ),
    "sixteen_bit": Kind(
        "images", NOTE, "Values of 16 bits", "The upper 8 of 16 bits are used.",
        "Stretch the values before you export, if the images look dark.",
    ),
    "alpha_dropped": Kind(
        "images", NOTE, "Transparency ignored", "The image has transparent parts; their colours are used as they are.",
        "Nothing, unless hidden parts would be seen.",
    ),
    "first_page": Kind(
        "images", NOTE, "First page only", "The file has several pages; the first is used.", "Nothing.",
    ),
    "missing_folder": Kind(
        "description", WARNING, "Test folder is missing",
        "The data.yaml names a test split that does not exist; it is left out.", "Correct or remove that line.",
    ),
    "not_listed": Kind(
        "description", NOTE, "Images in no list",
        "The data.yaml names folders or lists, and these images are in none of them; they are left out.",
        "Add their folder to the data.yaml, if they belong to the data set.",
    ),
    "path_mended": Kind(
        "description", NOTE, "Path read with goodwill",
        "A path in the data.yaml leads out of its folder, as some tools write it, and was read as one beside the file.",
        "Nothing.",
    ),
    "path_ignored": Kind(
        "description", NOTE, "Path entry ignored",
        "The data.yaml's `path` names the very folder it lies in.", "Nothing.",
    ),
    "bad_entry": Kind(
        "description", ("error", "warning"), "Unusable entry of a label file",
        "An entry names no image or no id, or gives one id to several images, so that nobody can say whose boxes it "
        "holds.",
        "Export the labels again.",
    ),
    "ambiguous_image": Kind(
        "description", WARNING, "Name that fits several images",
        "A label file names an image by a name that fits several images equally well; these boxes are left out.",
        "Write the folder into the name, or keep one label file in each folder of images.",
    ),
    "listed_twice": Kind(
        "description", WARNING, "Image listed twice",
        "An image is listed more than once; the boxes of all entries are kept, equal ones once.",
        "Look whether all of them are right.",
    ),
    "orphan_annotation": Kind(
        "description", WARNING, "Annotations without an image",
        "Annotations refer to images that the file does not list; they are left out.", "Export the labels again.",
    ),
    "unused_labels": Kind(
        "description", WARNING, "Label file left out",
        "A label file holds no boxes, or none of its images is in this folder.",
        "Nothing, if it belongs to other images or another task.",
    ),
    "category_heading": Kind(
        "description", NOTE, "Heading of the classes",
        "The first category has no box and only names the group of all others, as Roboflow writes it.", "Nothing.",
    ),
}  # fmt: skip
"""Code -> what it is."""
