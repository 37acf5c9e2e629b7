"""What every result of many numbers has: tidy rows as a frame, a page and a file, figures that show themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxsim.api.html import table
from ctxsim.api.storage import prepare_folder
from ctxsim.explore.store import write_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Drawn = tuple["Figure", Any]
"""A figure and its axes: one, or as many as it has panels."""

MOST_ROWS = 60
DPI = 96


@dataclass(frozen=True, repr=False)
class RowsResult:
    """Rows as every result has them: a frame, a page, a file."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """One observation each: names that end in their unit, no objects in cells."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What it is the result of."""
        raise NotImplementedError

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a frame."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    def __repr__(self) -> str:
        return f"<{self.title}: {len(self.rows)} rows>"

    def _repr_html_(self) -> str:
        """The first rows as a small page."""
        return table(self.title, self.rows[:MOST_ROWS])

    def save(self, folder: str | Path) -> Path:
        """Writes the rows as ``rows.parquet`` into the folder, which is made where there is none; returns it."""
        target = prepare_folder(folder)
        write_rows(self.rows, target / "rows.parquet", {"title": self.title})
        return target


def drawn(figure: Figure) -> Drawn:
    """The figure, which shows itself in a notebook, with its axes."""
    # A figure that pyplot did not make shows itself in a notebook only where it says how.
    vars(figure)["_repr_png_"] = partial(_png, figure)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    return figure, panels[0] if len(panels) == 1 else panels


def _png(figure: Figure) -> bytes:
    """The figure as a notebook shows it."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, bbox_inches="tight")
    return stream.getvalue()
