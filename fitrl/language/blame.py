"""Turn whatever goes wrong in an author's text into an error that names the line."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from fitrl.errors import ModelError, NoProbabilities
from fitrl.language.indexed import NeedsCells

_HINTS = {
    "TypeError": "Use the functions of fitrl.language (exp, log, where, maximum, ...) on values of the trial.",
    "ValueError": "Write where(condition, x, y) for a choice between values of the trial.",
}


_LANGUAGE = str(Path(__file__).with_name("model.py"))  # the base classes are not the author's text
_TRAITS = Path(__file__).with_name("traits.py")  # blamed only if no line of the model led there


class _Blamed(ModelError):
    """Already names its line."""


@contextmanager
def author_text(model: Any) -> Iterator[None]:
    """Name file, line and source of an error raised inside the text of a model or its traits.

    Parameters
    ----------
    model : Model
        Whose text is run within the block.

    Raises
    ------
    ModelError
        For any exception that passes through the author's text.
    """
    try:
        yield
    except (_Blamed, NeedsCells, NoProbabilities):
        raise
    except Exception as error:
        files = set().union(*[_files(type(part)) for part in (model, *model.traits)]) - {_LANGUAGE}
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
        if not frames:
            raise
        own = [f for f in frames if Path(f.filename) != _TRAITS]
        frame = (own or frames)[-1]
        line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
        text = str(error)
        if not isinstance(error, ModelError):
            hint = _HINTS.get(type(error).__name__, "")
            text = f"{type(error).__name__}: {text}. {hint}".strip()
        raise _Blamed(
            f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}(): `{line}`\n  {text}"
        ) from error


def _files(cls: type) -> set[str]:
    """Files in which the functions of a class and its bases were written."""
    functions = [f for base in cls.__mro__ for f in vars(base).values() if isinstance(f, FunctionType)]
    return {f.__code__.co_filename for f in functions}


def place_of(function: Any) -> str:
    """Where a function was written, as in ``my_model.py, line 12, in start()``."""
    code = function.__code__
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}, in {code.co_name}()"
