"""A model class of the user's own, from a file outside of this package."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable

from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.models.base import BaseModel, ModelContext


def load_user_model(text: str) -> Callable[[ModelContext], BaseModel]:
    """Import a class that takes the place of the config's model.

    Args:
        text: ``FILE.py:CLASS``. Modules beside the file can be imported by it; installed ones of the same name win.
    Raises:
        ConfigError: no such file or class, the file cannot be imported, or the class is no model.
    """
    path, _, name = text.rpartition(":")
    if not os.path.isfile(path):
        raise ConfigError(f"--model_class: must be FILE.py:CLASS with a file that exists, got {text!r}; correct it")
    module_name = f"tzrec_user_{os.path.splitext(os.path.basename(path))[0]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--model_class: {path!r} must be a Python file; give it the ending .py")
    folder = os.path.dirname(os.path.realpath(path))
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # TorchScript looks the source of a class up by its module
    try:
        spec.loader.exec_module(module)
    except Exception as err:
        place = traceback.extract_tb(err.__traceback__)[-1]
        where = f"{place.filename}:{place.lineno}"
        raise ConfigError(f"{where}: {type(err).__name__}: {err}; mend it, {path} is imported as a model") from err
    found = getattr(module, name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ConfigError(f"{path}: has no class {name!r}{suggestion(name, classes)}")
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise ConfigError(
            f"{path}: {name} must be a class on RankModel, MultiTaskModel, MatchModel or one of the models made of them"
        )
    return found
