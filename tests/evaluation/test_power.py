"""Energy counters as Linux shows them."""

import pytest

from kdyolo.evaluation.power import Meter


def zone(root, name, kind, energy, limit=1_000_000):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{limit}\n")
    return folder


def test_packages_are_summed_and_their_parts_not_counted_twice(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 100)
    zone(tmp_path, "intel-rapl:1", "package-1", 50)
    for name, kind in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")):
        zone(tmp_path, name, kind, 7)
    meter = Meter(tmp_path)
    assert (meter.read(), meter.fault) == ([100, 50], "")
    assert meter.joules([100, 50], [400, 250]) == pytest.approx(500e-6)


def test_a_counter_that_began_anew(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 0, limit=999)
    assert Meter(tmp_path).joules([900], [100]) == pytest.approx(200e-6)


def test_no_counters_and_unreadable_ones_are_told(tmp_path):
    meter = Meter(tmp_path / "none")
    assert meter.read() == []
    assert meter.joules([], []) == 0
    assert "no energy counters" in meter.fault
    (zone(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj").unlink()
    meter = Meter(tmp_path)
    assert meter.read() == []
    assert "cannot be read" in meter.fault
