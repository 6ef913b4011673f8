"""Takes rows of several columns at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from elites.networks import library


class Columns:
    """Arrays (n, *E) by name, prepared for taking rows many times."""

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        self.columns, arrays = columns, list(columns.values())
        self.compiled = library.LIBRARY is not None and all(
            x.device.type == "cpu" and x.is_contiguous() for x in arrays
        )
        self.kinds = [(name, x.shape[1:], x.dtype) for name, x in columns.items()]
        self.sizes = library.integers([x[:1].numel() * x.element_size() for x in arrays])
        self.source = library.addresses(arrays)

    def __reduce__(self) -> tuple[type[Columns], tuple[Mapping[str, Tensor]]]:
        """A copy has other arrays, so it makes its own pointers."""
        return Columns, (self.columns,)

    def rows(self, index: Tensor) -> dict[str, Tensor]:
        """The rows `index` (R,) of each column: (R, *E)."""
        if not self.compiled:
            return {name: column[index] for name, column in self.columns.items()}
        count = len(index)
        found = {name: torch.empty((count, *shape), dtype=dtype) for name, shape, dtype in self.kinds}
        taken = library.addresses([*found.values()])
        sizes, source, to = library.places(self.sizes, self.source, taken)
        library.call("elites_gather", library.Gather(len(taken), count, sizes, index.data_ptr(), source, to))
        return found
