"""Turn data frames and records into what netCDF and JSON hold, and back to exactly the same."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from fitrl.errors import FitError

_COLUMNS = "fitrl_columns"  # attribute of a stored frame: JSON, one entry per column
_SAFE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


# Records ----------------------------------------------------------------------------------------------


def pack(value: Any, place: str) -> Any:
    """Turn a value into plain JSON from which `unpack` makes an equal one.

    Parameters
    ----------
    value : object
        None, bool, number, text, list, tuple, mapping, array, or an instance of a dataclass, nested at will.
    place : str
        What it is, for the error message.

    Returns
    -------
    object
        What ``json.dumps(..., allow_nan=False)`` takes. Whatever JSON lacks becomes a dictionary with a tag.

    Raises
    ------
    FitError
        If it holds something else.

    Examples
    --------
    >>> pack((1, float("inf")), "example")
    {'tuple': [1, {'float': 'inf'}]}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, list):
        return [pack(v, f"{place}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [pack(v, f"{place}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return {"array": pack(value.tolist(), place), "dtype": value.dtype.str}
    if isinstance(value, Mapping):
        return {"dict": [[pack(k, place), pack(v, f"{place}[{k!r}]")] for k, v in value.items()]}
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        content = {f.name: pack(getattr(value, f.name), f"{place}.{f.name}") for f in fields(value) if f.init}
        return {"class": kind.__qualname__, "module": kind.__module__, "fields": content}
    raise FitError(
        f"{place} is a {type(value).__name__}, which cannot be stored with the fit. "
        "Expected numbers, texts, arrays, tuples, lists, dictionaries or dataclasses of them."
    )


def unpack(value: Any, find_class: Callable[[str, str], type]) -> Any:
    """Make the value again from what `pack` gave.

    Parameters
    ----------
    value : object
        What `pack` gave.
    find_class : callable
        From module and qualified name to the class, for dataclasses.

    Examples
    --------
    >>> unpack({"tuple": [1, {"float": "inf"}]}, lambda module, name: object)
    (1, inf)
    """
    if isinstance(value, list):
        return [unpack(v, find_class) for v in value]
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "tuple" in value:
        return tuple(unpack(v, find_class) for v in value["tuple"])
    if "array" in value:
        return np.array(unpack(value["array"], find_class), dtype=value["dtype"])
    if "dict" in value:
        return {unpack(k, find_class): unpack(v, find_class) for k, v in value["dict"]}
    kind = find_class(value["module"], value["class"])
    return kind(**{name: unpack(v, find_class) for name, v in value["fields"].items()})


# Data frames ------------------------------------------------------------------------------------------


def frame_to_dataset(frame: pd.DataFrame) -> xr.Dataset:
    """Turn a data frame into a data set with one variable per column, dim ``row``.

    Parameters
    ----------
    frame : DataFrame
        Any column names and types: numbers, texts, missing values, dates, categories, mixed cells.

    Returns
    -------
    Dataset
        Variables named as the columns where netCDF allows it, else ``column_<i>``.

    Warns
    -----
    UserWarning
        If a column holds objects that have no place in a file; their text is kept instead.
    """
    variables: dict[str, tuple[str, np.ndarray]] = {}
    entries: list[dict[str, Any]] = []

    def add(series: pd.Series, name: Any, role: str) -> None:
        taken = {"row", *variables, *(f"{v}__missing" for v in variables)}
        safe = isinstance(name, str) and _SAFE_NAME.fullmatch(name) and name not in taken
        variable = name if safe and role == "column" else f"{role}_{len(entries)}"
        while variable in taken:
            variable += "_"
        values, missing, how = _encode(series, name)
        variables[variable] = ("row", values)
        if missing is not None:
            variables[f"{variable}__missing"] = ("row", missing)
        entries.append({"variable": variable, "name": _cell(name), "role": role, **how})

    for i, name in enumerate(frame.columns):
        add(frame.iloc[:, i], name, "column")
    if not (isinstance(frame.index, pd.RangeIndex) and frame.index.equals(pd.RangeIndex(len(frame)))):
        add(frame.index.to_series(), frame.index.name, "index")
    table = {"names_dtype": str(frame.columns.dtype), "columns": entries}
    return xr.Dataset(variables, attrs={_COLUMNS: json.dumps(table, ensure_ascii=False)})


def frame_from_dataset(stored: xr.Dataset) -> pd.DataFrame:
    """Make the data frame again from what `frame_to_dataset` gave.

    Examples
    --------
    >>> frame = pd.DataFrame({"subj ID": ["07", None], "when": pd.to_datetime(["2020-01-01", None])})
    >>> frame_from_dataset(frame_to_dataset(frame)).equals(frame)
    True
    """
    table = json.loads(stored.attrs[_COLUMNS])
    columns: dict[int, Any] = {}
    names: list[Any] = []
    index = None
    for entry in table["columns"]:
        values = stored[entry["variable"]].values
        flag = f"{entry['variable']}__missing"
        missing = stored[flag].values if flag in stored else np.zeros(len(values), dtype=bool)
        decoded = _decode(values, missing, entry)
        if entry["role"] == "index":
            index = pd.Index(decoded, name=_uncell(entry["name"]))
        else:
            columns[len(names)] = decoded
            names.append(_uncell(entry["name"]))
    frame = pd.DataFrame(columns, index=pd.RangeIndex(stored.sizes.get("row", 0)))
    frame.columns = pd.Index(names, dtype=table["names_dtype"])
    return frame if index is None else frame.set_axis(index, axis="index")


def _encode(series: pd.Series, name: Any) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Give the values to store, where they are missing (None if nowhere), and how to read them."""
    dtype = series.dtype
    how: dict[str, Any] = {"dtype": str(dtype)}
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return series.to_numpy(), None, {**how, "kind": "plain"}
    if isinstance(dtype, pd.DatetimeTZDtype):
        utc = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return utc.to_numpy().view("int64"), None, {**how, "kind": "date"}
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        return series.to_numpy().view("int64"), None, {**how, "kind": "date"}
    if isinstance(dtype, pd.CategoricalDtype):
        categories = [_cell(c, name) for c in dtype.categories]
        how |= {"kind": "category", "categories": categories, "ordered": bool(dtype.ordered)}
        how["categories_dtype"] = str(dtype.categories.dtype)
        return series.cat.codes.to_numpy().astype("int64"), None, how
    missing = series.isna().to_numpy(dtype=bool)
    flags = missing if missing.any() else None
    if isinstance(dtype, pd.StringDtype):
        how |= {"kind": "text", "na": "nan" if dtype.na_value is np.nan else "NA", "storage": dtype.storage}
        return series.astype(object).where(~missing, "").to_numpy(dtype=object), flags, how
    inner = getattr(dtype, "numpy_dtype", None)  # of Int64, Float64, boolean
    if isinstance(inner, np.dtype) and inner.kind in "biuf":
        return series.to_numpy(dtype=inner, na_value=inner.type(0)), flags, {**how, "kind": "masked"}
    cells = [json.dumps(_cell(value, name), ensure_ascii=False) for value in series]
    return np.array(cells, dtype=object), None, {**how, "kind": "cells"}


def _decode(values: np.ndarray, missing: np.ndarray, entry: Mapping[str, Any]) -> Any:
    """Make an array or extension array with the dtype of the original column."""
    kind, dtype = entry["kind"], entry["dtype"]
    if kind == "plain":
        return values.astype(dtype, copy=False)
    if kind == "date":
        parsed = pd.api.types.pandas_dtype(dtype)
        if isinstance(parsed, pd.DatetimeTZDtype):
            naive = pd.Series(values.view(f"datetime64[{parsed.unit}]"))
            return naive.dt.tz_localize("UTC").dt.tz_convert(parsed.tz).array
        return values.astype("int64", copy=False).view(dtype)
    if kind == "category":
        categories = pd.Index([_uncell(c) for c in entry["categories"]], dtype=entry["categories_dtype"])
        return pd.Categorical.from_codes(values, categories=categories, ordered=entry["ordered"])
    if kind == "text":
        na = np.nan if entry["na"] == "nan" else pd.NA
        cells = values.astype(object)
        cells[missing] = None
        return pd.array(cells, dtype=pd.StringDtype(storage=entry["storage"], na_value=na))
    if kind == "masked":
        array = pd.array(values, dtype=dtype)
        array[missing] = pd.NA
        return array
    cells = np.empty(len(values), dtype=object)
    cells[:] = [_uncell(json.loads(text)) for text in values]
    return cells


def _cell(value: Any, column: Any = "") -> Any:
    """Write one cell as JSON; a cell of an unknown kind as its text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA:
        return {"missing": "NA"}
    if value is pd.NaT:
        return {"missing": "NaT"}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    warnings.warn(
        f'column "{column}" holds a {type(value).__name__}, which a file cannot keep; its text is stored.',
        stacklevel=2,
    )
    return str(value)


def _uncell(value: Any) -> Any:
    """Read one cell from JSON."""
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    return pd.NA if value["missing"] == "NA" else pd.NaT
