import pytest

from kdyolo.datasets.splits.sources import by_names, name_group, source_of, video_of

HASH = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        (f"x_jpg.rf.{HASH}.jpg", "x"),
        (f"train/images/IMG_2378_JPG.rf.{HASH}.jpg", "IMG_2378"),
        (f"valid/images/x.jpg.rf.{HASH}.jpg", "x"),
        (f"x.rf.{HASH}.png", "x"),
        ("x_png.rf.Ab3dE5gH7jK9.jpg", "x"),
        (f"field2/images/x_jpg.rf.{HASH}.jpg", "field2/x"),
        ("clip7_frame_0012.png", "clip7"),
        ("clip7/frame_0012.png", "clip7"),
        ("images/train/clip7/frame0012.png", "clip7"),
        ("images/frame_0012.png", "frames"),
        ("street-frame-12.jpg", "street"),
        ("walk.mp4_000017.png", "walk"),
        (f"walk_mp4-17_jpg.rf.{HASH}.jpg", "walk"),
        ("walk.avi-frame12.jpg", "walk"),
        ("video3-000123.jpg", "video3"),
        ("garden_video_3_000123.jpg", "garden_video_3"),
        ("MVI_20011_img00001.jpg", "MVI_20011"),
        ("seq 12 00003.jpg", "seq 12"),
    ],
)
def test_names_that_say_where_an_image_comes_from(name, origin):
    assert name_group(name) == origin


@pytest.mark.parametrize(
    "name",
    [
        "BloodImage_00001.jpg",
        "train/IMG_2378.JPG",
        "cam_image45.jpg",
        "0tomato_valid_healthy.JPG",
        "000000001234.jpg",
        "2007_000027.jpg",
        "DSC_0012.jpg",
        "MVI_1234.jpg",
        "clip-17.jpg",
        "video.jpg",
        "clipart_12_3.png",
        "david_12_3.png",
        "covid_19_001.png",
        "2024-01-01-12-30-00.jpg",
        "a.rf.jpg",
        "photoframe12.jpg",
    ],
)
def test_a_number_alone_is_no_frame(name):
    assert name_group(name) is None


def test_a_copy_of_a_frame_has_a_video_and_a_source():
    name = f"clip7_frame_0012_jpg.rf.{HASH}.jpg"
    assert (video_of(name), source_of(name), name_group(name)) == ("clip7", "clip7_frame_0012", "clip7")


def test_an_original_belongs_to_its_copies():
    names = ["train/x.jpg", f"test/x_jpg.rf.{HASH}.jpg", "y.jpg", f"other/x_jpg.rf.{HASH}.jpg"]
    assert by_names(names) == {names[0]: "x", names[1]: "x", names[3]: "other/x"}
    assert by_names(names, video_of) == {}
