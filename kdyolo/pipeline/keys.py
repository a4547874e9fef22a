"""What decides a stage's result, its hash (the key), and how two of them differ."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kdyolo.config import Config, stable_hash
from kdyolo.errors import EnvironmentFault
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir, StageRecord

_STAGE_PREFIX = "stage:"


@dataclass(frozen=True)
class Identity:
    """What decides a stage's result.

    Attributes:
        settings: Its part of the settings.
        inputs: Name -> fingerprint of files from outside, and ``stage:<name>`` -> hash of a needed stage's outputs.
        versions: Package -> version.
        defaults: Its part of the default settings. A record that lacks one of them is of an earlier version, which
            did not know it yet.
    """

    settings: dict[str, Any]
    inputs: dict[str, str]
    versions: dict[str, str]
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Equal keys: the stage would do the same again."""
        return stable_hash({"settings": self.settings, "inputs": self.inputs, "versions": self.versions})


def identify(run: RunDir, config: Config, stage: Stage, fingerprints: Mapping[str, str]) -> Identity:
    """Identity of a stage as the run directory is now; needed stages without a finished record are left out."""
    inputs = dict(fingerprints)
    for need in stage.needs:
        if record := run.finished(need):
            inputs[_STAGE_PREFIX + need] = stable_hash(record.outputs)
    # Through JSON and back, as a record goes: else a tuple would differ from the list that was read.
    settings, defaults = (json.loads(json.dumps(stage.settings(c), default=str)) for c in (config, Config()))
    return Identity(settings, inputs, {name: package_version(name) for name in stage.versions}, defaults)


def recorded_fingerprints(record: StageRecord) -> dict[str, str]:
    """Fingerprints of outside files as a record has them."""
    return {name: value for name, value in record.inputs.items() if not name.startswith(_STAGE_PREFIX)}


def differences(record: StageRecord, now: Identity, ignore_needs: frozenset[str] = frozenset()) -> list[str]:
    """One phrase for everything that is not as the record says; `ignore_needs` are stages about to run themselves."""
    ignored = {_STAGE_PREFIX + name for name in ignore_needs}
    then, defaults = _flat(record.settings), _flat(now.defaults)
    phrases = [
        f"setting {k}: {_show(a)} -> {_show(b)}"
        for k, a, b in _compare(then, _flat(now.settings))
        if k in then or k not in defaults or b != defaults[k]
    ]
    for name, _, _ in _compare(record.inputs, now.inputs):
        if name in ignored:
            continue
        stage = name.removeprefix(_STAGE_PREFIX)
        phrases.append(f"the result of '{stage}' changed" if stage != name else f"the files of '{name}' changed")
    phrases += [f"package {k}: {a} -> {b}" for k, a, b in _compare(record.versions, now.versions)]
    return phrases


def package_version(name: str) -> str:
    """Installed version of a package.

    Raises:
        EnvironmentFault: It is not installed.
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise EnvironmentFault(f"The package {name} is not installed.", "Run `pip install kdyolo` again.") from error


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = [*old, *(name for name in new if name not in old)]
    return [(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
