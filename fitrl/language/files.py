"""Models from a file: a user's own file has the same rights as one of the zoo."""

from __future__ import annotations

import hashlib
import linecache
import sys
import types
from pathlib import Path

from fitrl.errors import ModelError
from fitrl.language.model import Model


def model_class(source: str, filename: str, wanted: str = "") -> type[Model]:
    """Run the text of a model file and return the model class that it defines.

    Parameters
    ----------
    source : str
        Text of the file.
    filename : str
        Its name, for messages.
    wanted : str, optional
        Name of the class, needed if the file defines several models.

    Raises
    ------
    ModelError
        If the text does not run, or defines no model, or several and none was named.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    module = types.ModuleType(f"fitrl_model_{Path(filename).stem}_{digest}")
    module.__file__ = filename
    # Tracebacks of a stored model show its lines, though there may be no such file any more.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, filename, "exec"), module.__dict__)
    except Exception as error:
        line = getattr(error, "lineno", None) or _last_line(error, filename)
        raise ModelError(f"{filename}, line {line}: {type(error).__name__}: {error}") from error
    models = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Model) and value.__module__ == module.__name__
    }
    if wanted and wanted not in models:
        raise ModelError(f"{filename} defines no model {wanted}; it defines {', '.join(models) or 'none'}.")
    if not models:
        raise ModelError(f"{filename} defines no model: write a class that inherits from fitrl.language.Model.")
    if len(models) > 1 and not wanted:
        raise ModelError(f"{filename} defines several models; name one: {filename}:{next(iter(models))}.")
    return models[wanted or next(iter(models))]


def read_model_file(path: str) -> tuple[str, str, str]:
    """Split ``my_model.py:Class`` and read the file: (text, file name, class name or '').

    Raises
    ------
    ModelError
        If there is no such file.
    """
    name, wanted = path, ""
    if not path.endswith(".py") and ".py:" in path:
        name, wanted = path.rsplit(":", 1)
    file = Path(name)
    if not file.is_file():
        raise ModelError(f"there is no model file {name}.")
    return file.read_text(encoding="utf-8"), str(file), wanted


def _last_line(error: BaseException, filename: str) -> int | str:
    line: int | str = "?"
    tb = error.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code.co_filename == filename:
            line = tb.tb_lineno
        tb = tb.tb_next
    return line
