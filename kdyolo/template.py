"""The settings file that `kdyolo init` writes, drawn from the settings' own descriptions."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kdyolo.config import Config
from kdyolo.yamlio import dump_yaml

_HEAD = """\
# Settings of kdyolo: each with its default and its meaning. Lines you do not change can go.
# Use: kdyolo run DATASET -c THIS_FILE; single values: -S student.epochs=50
"""
_FROM_COMMAND_LINE = "source"  # commented out: a null here would undo the data set of an existing run


def settings_template() -> str:
    """Every setting as commented YAML; read back, it gives the defaults."""
    return _HEAD + "\n".join(_section(Config(), 0)) + "\n"


def _section(section: BaseModel, depth: int) -> list[str]:
    indent, lines = "  " * depth, list[str]()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            lines += ["", f"{indent}# {field.description}", f"{indent}{name}:", *_section(value, depth + 1)]
        else:
            plain = section.model_dump(mode="json", include={name})
            text = dump_yaml(plain[name] if not isinstance(plain[name], list) else plain).strip()
            mark = "# " if name == _FROM_COMMAND_LINE else ""
            lines.append(f"{indent}{mark}{_assignment(name, plain[name], text)}  # {_meaning(field)}")
    return lines


def _assignment(name: str, value: object, text: str) -> str:
    if isinstance(value, list):
        return f"{name}: [{', '.join(str(item) for item in value)}]"
    return f"{name}: {text.removesuffix('...').strip()}"


def _meaning(field: FieldInfo) -> str:
    choices = getattr(field.annotation, "__args__", ()) if "Literal" in str(field.annotation) else ()
    names = [choice for choice in choices if isinstance(choice, str)]
    return f"{field.description}" + (f" ({', '.join(names)})" if names else "")
