"""A short name for the code of a transform, so that a commit says which code made it."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any


def code_version_of(*sources: Callable[..., Any] | type) -> str | None:
    """Hash of the source text of functions and classes; None where the source is not at hand."""
    try:
        text = "\n".join(inspect.getsource(source) for source in sources)
    except OSError:
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:12]
