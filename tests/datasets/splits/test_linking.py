import pytest
from builders import checked, dataset_of, looks

from kdyolo.config import SplitSettings
from kdyolo.datasets.splits.grouping import group_images
from kdyolo.datasets.splits.linking import find_links
from kdyolo.errors import ConfigError

HASH = "0123456789abcdef0123456789abcdef"


def found(dataset, **settings):
    """Sizes of the groups above one image, and the codes of the findings."""
    links = find_links(dataset, SplitSettings(**settings))
    sizes = sorted(len(group.samples) for group in group_images(dataset.usable, links))
    return [size for size in sizes if size > 1], [finding.code for finding in dataset.findings]


def clips(*sizes, more=0):
    frames = [checked(f"clip{i}_frame_{k:03d}.jpg") for i, size in enumerate(sizes) for k in range(size)]
    return dataset_of([*frames, *(checked(f"IMG_{i}.jpg") for i in range(more))])


def test_frames_and_copies_are_grouped_by_name():
    assert found(clips(4, 3, 2, more=5)) == ([2, 3, 4], [])
    assert found(clips(4, 3, 2, more=5), name_patterns=False) == ([], [])
    copies = dataset_of([checked(f"train/{i // 3}_jpg.rf.{HASH}{i}.jpg") for i in range(12)])
    assert found(copies) == ([3, 3, 3, 3], [])


@pytest.mark.parametrize("sizes", [(9,), (5, 4), (30, 1, 1, 1)])
def test_videos_that_leave_too_little_to_divide_are_not_used_and_told(sizes):
    assert found(clips(*sizes)) == ([], ["source_divided"])


def test_copies_are_grouped_by_source_where_there_is_one_video_only():
    names = [f"walk_mp4-{i // 2}_jpg.rf.{HASH[:-1]}{i % 2}.jpg" for i in range(20)]
    dataset = dataset_of([checked(name) for name in names])
    assert found(dataset) == ([2] * 10, ["source_divided"])
    assert "20 images are frames or copies of only 1" in dataset.findings[0].message


def test_near_copies_are_grouped_unless_told_otherwise():
    def samples():
        return dataset_of([checked(f"{i}", looks=looks(i // 2, noise=i % 2)) for i in range(8)])

    assert found(samples())[0] == [2, 2, 2, 2]
    assert found(samples(), near_duplicates=False)[0] == []


def test_the_users_groups_stand_in_for_names_and_beside_copies():
    dataset = clips(3, 3, 3, more=2)
    dataset.samples[2].check = checked("x", dataset.samples[8].name).check  # identical across two groups
    assert found(dataset, group_by=r"clip(\d)")[0] == [3, 6]
    assert [finding.code for finding in dataset.findings] == ["no_group"]
    assert "2 of 11 images" in dataset.findings[0].message


def test_a_group_that_is_too_large_is_told():
    sizes, codes = found(clips(9, 1, 1), group_by=r"clip\d")
    assert sizes == [9]
    assert codes == ["large_group"]


def test_a_table_of_groups(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("file,group,note\nIMG_0.jpg,a,x\nIMG_3.jpg,a,\nIMG_1.jpg,b,\nIMG_2.jpg,,\n")
    dataset = clips(more=6)
    assert found(dataset, group_by=str(table)) == ([2], ["no_group"])
    assert "3 of 6 images" in dataset.findings[0].message


@pytest.mark.parametrize("rule", ["plant", "(x)?IMG", "^$"])
def test_a_rule_that_fits_nothing_is_an_error(rule):
    with pytest.raises(ConfigError, match="fits none of the 6 images") as caught:
        found(clips(more=6), group_by=rule)
    assert "IMG_0.jpg" in caught.value.hint


def test_a_rule_that_is_no_rule():
    with pytest.raises(ValueError, match=r"neither a \.csv nor a regular expression"):
        SplitSettings(group_by="plant(")
