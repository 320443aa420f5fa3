"""Reading a definition, so that a mistake names its file, its line and what is allowed."""

import difflib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from marketday.errors import RetailerError, listed
from marketday.retailers.definition import Retailer

_LONGEST_NAME = 100
"""Characters that an error shows of what somebody took for a retailer's name."""


def names(folder: Path) -> list[str]:
    """Return the names of all definitions in ``folder``, right or wrong, in order."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def is_defined(name: str, folder: Path) -> bool:
    """Whether there is a definition of that name, right or wrong."""
    return _stat(folder / f"{name}.yaml") is not None


def load(name: str, folder: Path) -> Retailer:
    """Read one definition; one that is as it was when it was last read is not read again.

    Raises:
        RetailerError: there is none of that name, or it is wrong; says the file, the line and what is allowed.

    """
    path = folder / f"{name}.yaml"
    state = _stat(path)
    if state is None:
        raise RetailerError(
            f"There is no retailer {name[:_LONGEST_NAME]!r} in {folder}",
            hint=f"Use one of: {listed(names(folder)) or 'none is defined'}.",
        )
    # A text: to hash and compare paths takes longer than all the rest of this.
    return _read(str(path), (state.st_mtime_ns, state.st_size, state.st_ino))


def _stat(path: Path) -> os.stat_result | None:
    """Return the state of a file; None: there is none, or none can have that name."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1000)
def _read(file: str, _state: tuple[int, int, int]) -> Retailer:
    path = Path(file)
    name = path.stem
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RetailerError(f"{path}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RetailerError(f"{path}:1: not a text in UTF-8: {error}") from error
    if not isinstance(data, dict):
        raise RetailerError(
            f"{path}:1: a definition is a mapping of keys to values", hint="See include/retailers/simulated.yaml."
        )
    try:
        retailer = Retailer.model_validate({"name": name, **data})
    except ValidationError as error:
        complaints = [_complaint(path, tree, problem) for problem in error.errors()]
        raise RetailerError("\n".join(complaints)) from error
    if retailer.name != name:
        raise RetailerError(f"{path}: the name {retailer.name!r} is not the file's own", hint="Rename one of them.")
    return retailer


def _complaint(path: Path, tree: yaml.Node | None, problem: Any) -> str:
    loc = [str(part) for part in problem["loc"]]
    where = f"{path}:{_line(tree, loc)}: {'.'.join(loc)}"
    if problem["type"] == "extra_forbidden":
        keys = _keys_at(loc[:-1])
        near = difflib.get_close_matches(loc[-1], keys, n=1)
        meant = f"did you mean `{near[0]}`? " if near else ""
        return f"{where}: there is no such key; {meant}Allowed: {listed(keys, most=len(keys))}"
    if problem["type"] == "missing":
        return f"{where}: is missing: {_description(loc)}"
    return (
        f"{where}: {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}. {_description(loc)}".rstrip()
    )


def _line(tree: yaml.Node | None, loc: list[str]) -> int:
    node = tree
    line = 1
    for part in loc:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if key.value == part:
                line, node = key.start_mark.line + 1, value
                break
    return line


def _model_at(loc: list[str]) -> type[BaseModel]:
    model: type[BaseModel] = Retailer
    for part in loc:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        model = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), model)
    return model


def _keys_at(loc: list[str]) -> list[str]:
    return list(_model_at(loc).model_fields)


def _description(loc: list[str]) -> str:
    field = _model_at(loc[:-1]).model_fields.get(loc[-1])
    return field.description or "" if field else ""
