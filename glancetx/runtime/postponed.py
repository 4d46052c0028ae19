"""Modules that others import at their top, and that are hardly ever used there."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any


def postpone(*names: str) -> None:
    """Have these modules loaded when something of them is used, and not when somebody imports them as a whole.

    To be called before anybody does. As with an import, threads wait for the one that came first.
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
        self.__loading__, self.__begun__ = RLock(), False

    def __getattr__(self, name: str) -> Any:
        """Anything is missing until the module is loaded."""
        with self.__loading__:
            spec = self.__spec__
            if not self.__begun__ and spec is not None and spec.loader is not None:
                self.__begun__ = True
                vars(self).update(vars(module_from_spec(spec)))
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]
        return ModuleType.__getattribute__(self, name)
