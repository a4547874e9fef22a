"""Safe YAML: plain data only, errors with line and column, no aliases (a few lines of them can fill the memory)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kdyolo.errors import ConfigError

MAX_BYTES = 8_000_000
MAX_NODES = 50_000


class _PlainLoader(yaml.SafeLoader):
    """A SafeLoader that refuses aliases, duplicate keys and documents of very many values."""

    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, f"it holds more than {MAX_NODES} values", mark)
        if self.check_event(yaml.events.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "anchors and aliases are not allowed", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            self._refuse_duplicates(node)
        return node

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is given twice", key.start_mark
                    )
                seen.add(key.value)


class _Dumper(yaml.SafeDumper):
    """A SafeDumper that quotes the line breaks of Unicode, which would come back as blanks."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if set(text) & set("\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _quoted)


def parse_yaml(text: str, name: str) -> Any:
    """Parse YAML text into plain Python data.

    Args:
        text: The YAML document.
        name: Where it comes from, for the error message.

    Raises:
        ConfigError: Not YAML, a tag that builds objects, an alias, a duplicate key or over 50 000 values; says where.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader subclass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{name} is not valid YAML{place}: {error.problem}", "Correct that line.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{name} is not valid YAML: {error}", "Correct the file.") from error


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: The file is missing, too large, not UTF-8, not YAML, empty or a list.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES // 1_000_000} MB.", "Give the right file.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", "Check the path.") from error
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        kind = "empty" if data is None else f"a {type(data).__name__}"
        raise ConfigError(f"{path} must hold `key: value` lines, but it is {kind}.", "See `kdyolo init --help`.")
    return data


def dump_yaml(data: Any) -> str:
    """Plain data as YAML text, keys in the order given, unicode kept."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text
