"""Parameter values as told on a command line or in Python, typed by the pipeline's defaults."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from kaleyard.errors import ParameterError, UsageError
from kaleyard.pipeline import Parameter, Pipeline
from kaleyard.runtime.exchange.parameter_types import coerce

__all__ = ["parse_parameters", "resolve_parameters"]


def parse_parameters(pipeline: Pipeline, texts: Iterable[str]) -> dict[str, Any]:
    """Values from `NAME=VALUE` texts. Raises ParameterError for an unknown name or a value of another type."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"-p {text!r} is not of the form NAME=VALUE", fix="For example: -p SEED=7")
        parameter = _find(pipeline, name)
        values[name] = coerce(name, _literal(parameter, value), parameter.type, parameter.default)
    return values


def resolve_parameters(pipeline: Pipeline, values_told: Mapping[str, object]) -> dict[str, Any]:
    """Every parameter's value: what is told, else its default. Raises ParameterError as `parse_parameters` does."""
    values = pipeline.defaults()
    for name, value in values_told.items():
        parameter = _find(pipeline, name)
        values[name] = coerce(name, value, parameter.type, parameter.default)
    return values


def _find(pipeline: Pipeline, name: str) -> Parameter:
    for parameter in pipeline.parameters:
        if parameter.name == name:
            return parameter
    names = [p.name for p in pipeline.parameters]
    near = difflib.get_close_matches(name.upper(), [n.upper() for n in names], n=1)
    near_name = next((n for n in names if near and n.upper() == near[0]), None)
    fix = f"Did you mean {near_name}?" if near_name else f"It has: {', '.join(names) or 'none'}."
    raise ParameterError(f"pipeline {pipeline.name} has no parameter {name}", fix=fix)


def _literal(parameter: Parameter, text: str) -> object:
    """The text as a value of about the right type; what does not fit is left for `coerce` to refuse."""
    if parameter.type in ("str", "bool"):
        return text
    if parameter.type in ("list", "dict"):
        for read in (json.loads, ast.literal_eval):
            try:
                return read(text)
            except (ValueError, SyntaxError):
                continue
        return text
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
