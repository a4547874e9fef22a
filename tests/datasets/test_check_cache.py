import os
import sqlite3
import time

import pytest
from builders import write_image

from kdyolo.config import AuditSettings
from kdyolo.datasets import check_cache
from kdyolo.datasets.check_cache import CheckCache, digest, stamp
from kdyolo.datasets.images import check_image

AUDIT = AuditSettings()


def settle(path, ago=3600.0):
    """Make a file look as if it had been left alone for a while."""
    past = time.time() - ago
    os.utime(path, (past, past))
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cache" / "checks.sqlite"


@pytest.fixture
def image(tmp_path):
    return settle(write_image(tmp_path / "a.png", seed=1))


def fill(file, *images, audit=AUDIT):
    with CheckCache(audit, file) as cache:
        cache.remember([(path, stamp(path), check_image(path, audit)) for path in images])


def known(file, path, audit=AUDIT):
    with CheckCache(audit, file) as cache:
        (check,) = cache.of_files([path], [stamp(path)])
        return check


def known_bytes(file, path, audit=AUDIT):
    with CheckCache(audit, file) as cache:
        return cache.of_bytes(path, digest(path))


def test_what_is_remembered_is_what_was_found(file, image, tmp_path):
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(write_image(tmp_path / "whole.jpg").read_bytes()[:-2])
    settle(cut)
    for path in (image, cut):
        fill(file, path)
        assert known(file, path) == known_bytes(file, path) == check_image(path, AUDIT)
    assert known(file, cut).notes  # mended, and it says so again


def test_a_changed_file_is_not_known(file, image):
    fill(file, image)
    write_image(image, seed=2)
    assert known(file, settle(image, 1800)) is None
    assert known_bytes(file, image) is None


def test_a_change_within_the_same_moment_is_not_missed(file, image):
    image.touch()
    assert stamp(image) == ""
    fill(file, image)
    assert known(file, settle(image)) is None


def test_the_same_bytes_are_known_under_another_name(file, image, tmp_path):
    fill(file, image)
    copied = tmp_path / "b.PNG"
    copied.write_bytes(image.read_bytes())
    settle(copied)
    assert known(file, copied) is None
    assert known_bytes(file, copied) == check_image(image, AUDIT)
    wrong_name = tmp_path / "b.jpg"
    wrong_name.write_bytes(image.read_bytes())
    assert known_bytes(file, wrong_name) is None  # its name does not fit its content, which the check tells


@pytest.mark.parametrize("other", [{"min_side": 11}, {"max_pixels": 10_000_000}, {"max_aspect": 7}])
def test_other_limits_ask_for_another_check(file, image, other):
    fill(file, image)
    assert known(file, image, AuditSettings(**other)) is None


def test_another_version_asks_for_another_check(file, image, monkeypatch):
    fill(file, image)
    monkeypatch.setattr(check_cache, "VERSION", check_cache.VERSION + 1)
    assert known(file, image) is None


def test_what_cannot_be_opened_is_not_remembered(file, tmp_path):
    missing = tmp_path / "missing.jpg"
    assert (stamp(missing), digest(missing), stamp(tmp_path)) == ("", "", "")
    (tmp_path / "empty.jpg").touch()
    fill(file, missing, settle(tmp_path / "empty.jpg"))
    assert not CheckCache(AUDIT, file).holds_checks


def test_switched_off_it_neither_reads_nor_writes(file, image):
    off = AuditSettings(cache=False)
    fill(file, image, audit=off)
    assert not file.parent.exists()
    fill(file, image)
    assert known(file, image, off) is None


def test_a_damaged_database_is_begun_anew(file, image):
    file.parent.mkdir()
    file.write_bytes(b"this is no database" * 1000)
    assert known(file, image) is None
    fill(file, image)
    assert known(file, image) is not None


def test_damage_in_the_middle_only_costs_time(file, image):
    fill(file, image)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE checks SET body = '{\"reason\": 3'")
    assert known(file, image) is None
    fill(file, image)
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE checks")
        database.execute("CREATE TABLE checks (other TEXT)")
    assert known(file, image) is None


def test_a_locked_database_is_done_without(file, image, monkeypatch):
    fill(file, image)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.01}))
    holder = connect(file)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with CheckCache(AUDIT, file) as cache:
            cache.remember([(image, stamp(image), check_image(image, AUDIT))])
            cache.remember_audit("key", {})
    finally:
        holder.close()
    assert known(file, image) is not None


def test_a_place_that_cannot_be_a_folder_is_done_without(tmp_path, image):
    (tmp_path / "taken").touch()
    file = tmp_path / "taken" / "checks.sqlite"
    fill(file, image)
    assert known(file, image) is None


def test_the_oldest_are_forgotten(file, tmp_path, monkeypatch):
    monkeypatch.setattr(check_cache, "MAX_FILES", 3)
    monkeypatch.setattr(check_cache, "MAX_AUDITS", 1)
    paths = [settle(write_image(tmp_path / f"{i}.png", seed=i)) for i in range(5)]
    for day, path in enumerate(paths):
        monkeypatch.setattr(check_cache.time, "time", lambda day=day: 2e9 + 86400 * day)
        with CheckCache(AUDIT, file) as cache:
            cache.remember([(path, "a stamp", check_image(path, AUDIT))])
            cache.remember_audit(str(day), [day])
    with CheckCache(AUDIT, file) as cache:
        assert [check is not None for check in cache.of_files(paths, ["a stamp"] * 5)] == [
            False,
            False,
            True,
            True,
            True,
        ]
        assert [cache.audit(str(day)) for day in range(5)] == [None, None, None, None, [4]]
