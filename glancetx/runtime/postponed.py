"""Modules that others import at their top, and that are hardly ever used there."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


def postpone(*names: str) -> None:
    """Have these modules loaded when something of them is used, and not when somebody imports them as a whole.

    To be called before anybody does. What uses them first has to be the main thread.
    """
    for name in names:
        spec = None if name in sys.modules else find_spec(name)
        if spec is not None:
            sys.modules[name] = _Postponed(spec)


class _Postponed(ModuleType):
    """importlib's LazyLoader loads a module as soon as it is imported twice: Python looks at its ``__spec__`` then."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec

    def __getattr__(self, name: str) -> Any:
        """Anything is missing until the module is loaded."""
        spec = self.__spec__
        if self.__class__ is _Postponed and spec is not None and spec.loader is not None:
            self.__class__ = ModuleType  # type: ignore[assignment]
            vars(self).update(vars(module_from_spec(spec)))
            spec.loader.exec_module(self)
        return getattr(self, name)
