"""For the reference: the stars of shapes such as (*B, N, *E) are stars, and not Markdown's emphasis."""

from typing import Any

import griffe


class Shapes(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("(*", "(\\*").replace(", *", ", \\*")
