"""The four quantities over grids: numpy arrays in, arrays out."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ctxsim.analysis.quantities import four_quantities
from ctxsim.analysis.session import typical_session
from ctxsim.cost import CostModel, Machine
from ctxsim.spec.scenario import Scenario

if TYPE_CHECKING:
    import numpy as np


def analyze_grid(
    scenario: Scenario, *, document_tokens: Any = None, answer_tokens: Any = None, machine: Machine | None = None
) -> dict[str, np.ndarray]:
    """The four quantities for every combination of numbers, broadcast against each other.

    document_tokens, answer_tokens: arrays (the scenario's where None). machine: hardware numbers of one accelerator, as
    arrays (the profile's where None). Returns arrays of the broadcast shape under the keys of ``analyze``.
    """
    import numpy as np

    session = typical_session(scenario)
    document = np.asarray(session.document_tokens if document_tokens is None else document_tokens, dtype=float)
    answer = np.asarray(session.answer_tokens if answer_tokens is None else answer_tokens, dtype=float)
    cost = CostModel(scenario, machine, minimum=np.minimum)
    found = asdict(four_quantities(cost, document, answer, np.minimum, np.maximum))
    shape = np.broadcast_shapes(*(np.shape(value) for value in found.values()))
    return {name: np.broadcast_to(np.asarray(value, dtype=float), shape).copy() for name, value in found.items()}
