"""Label files with anything in the wrong place: read, or refused with one of our own errors, never with another."""

import copy
import json

import pytest
from builders import write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_files import coco, cvat, region, task

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.detect import READERS
from kdyolo.datasets.tree import scan
from kdyolo.errors import KdyoloError

JUNK = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        10**400,
        "",
        " ",
        "x",
        "../x",
        "\0",
        [],
        {},
        [[]],
        [None],
        "2",
        "🂡",
    ]
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WHOLE = {
    "coco": coco({1: "a.jpg", 2: "b.jpg"}, [(1, 1, (1, 2, 3, 4)), (2, 2, (5, 6, 7, 8))]),
    "label-studio": [
        task(
            "/data/upload/1/0123abcd-a.jpg",
            {"id": 1, "updated_at": "2024-01-01", "result": [region("cat", 1, 2, 30, 4)]},
        ),
        task("b.jpg", predictions=[{"score": 0.5, "result": [region("dog", 5, 6, 7, 8, rotation=9, score=0.5)]}]),
    ],
}
XML = cvat(
    '<image id="0" name="a.jpg" width="64" height="48"><box label="cat" xtl="1" ytl="2" xbr="3" ybr="4" rotation="3">'
    '<attribute name="score">0.5</attribute></box><polygon label="dog" points="1,2;3,4;5,6"/></image>'
)
CSV = "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,cat,1,2,3,4\nb.jpg,64,48,dog,5,6,7,8\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        write_image(folder / name, seed)
    return folder


def places(data, path=()):
    """Where something can be replaced, the outermost included."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*path, key))


def replaced(data, path, junk):
    if not path:
        return junk
    parent = data = copy.deepcopy(data)
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = junk
    return data


def survives(kind, file, folder):
    try:
        dataset = READERS[kind]([file], scan(folder), None, DataSettings(), AuditSettings())
    except KdyoloError:
        return
    for sample in dataset.samples:
        assert ((sample.xywhn >= 0) & (sample.xywhn <= 1)).all()
        assert all(0 <= c < len(dataset.names) for c in sample.cls)
        assert sample.name in {"a.jpg", "b.jpg"} or sample.quarantine


@pytest.mark.parametrize("kind", WHOLE)
@MANY
@given(data=st.data())
def test_json(folder, kind, data):
    content = WHOLE[kind]
    for _ in range(data.draw(st.integers(1, 2))):
        where = data.draw(st.sampled_from(list(places(content))))
        content = replaced(content, where, data.draw(JUNK))
    (folder / "x.json").write_text(json.dumps(content))
    survives(kind, folder / "x.json", folder)


@pytest.mark.parametrize(("kind", "text"), [("cvat", XML), ("csv", CSV)])
@MANY
@given(data=st.data())
def test_text(folder, kind, text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    junk = data.draw(
        st.sampled_from(["", "x", "nan", "1e999", "../", "\0", '"', "<", ",", ";", "\n", "é", " ", "-", "9" * 5000])
    )
    (folder / "x").write_text(text[:start] + junk + text[end:])
    survives(kind, folder / "x", folder)
