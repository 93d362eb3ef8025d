"""Compiles inner loops; the first use of a version compiles for some seconds, later ones read what was kept.

What is kept is as old as its own file. So a compiled function calls only compiled ones of the same file: a change in
another would go unnoticed.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The same function as machine code, kept between processes where there is a folder that may be written."""
    try:
        return cast("F", njit(cache=True, error_model="numpy")(function))
    except RuntimeError:  # no such folder: compile in every process
        return cast("F", njit(error_model="numpy")(function))
