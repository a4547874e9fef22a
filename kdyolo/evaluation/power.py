"""Energy by RAPL (running average power limit): counters of whole processor packages, where the system shows them.

The counters go up about once a millisecond and cover everything the processor does, also for others: figures are
upper bounds, and mean something on an idle machine only. Source: Linux, Documentation/power/powercap.
"""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class Meter:
    """Energy counters of all processor packages.

    Args:
        root: Where the system shows them.

    Attributes:
        fault: Why there is nothing to read, "" where there is.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._counters: list[tuple[Path, int]] = []
        self.fault = ""
        zones = sorted(root.glob("intel-rapl:[0-9]*"))
        packages = [zone for zone in zones if ":" not in zone.name.removeprefix("intel-rapl:") and _is_package(zone)]
        if not packages:
            self.fault = "this machine shows no energy counters (RAPL)"
        try:
            for zone in packages:
                counter = zone / "energy_uj"
                int(counter.read_text())
                self._counters.append((counter, int((zone / "max_energy_range_uj").read_text())))
        except (OSError, ValueError):
            self._counters = []
            self.fault = f"{root} cannot be read; ask for read permission on energy_uj"

    def read(self) -> list[int]:
        """The counters (microjoules); empty where there are none."""
        return [int(counter.read_text()) for counter, _ in self._counters]

    def joules(self, before: list[int], after: list[int]) -> float:
        """Energy between two readings (J); a counter that began anew in between has gone round once."""
        ranges = [limit for _, limit in self._counters]
        spent = ((b - a) % (limit + 1) for a, b, limit in zip(before, after, ranges, strict=True))
        return sum(spent) / 1e6


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().startswith("package")
    except OSError:
        return False
