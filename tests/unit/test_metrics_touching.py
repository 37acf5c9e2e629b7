"""What a decoding sequence touches over runs of iterations, against each of its steps."""

from __future__ import annotations

import numpy as np
import pytest

from ctxsim.geometry import Span
from ctxsim.metrics.touching import stretches

SPANS = [Span("full"), Span("sliding", 9), Span("topk", 6), Span("chunked", 5), Span("full", 0, "decode")]


@pytest.mark.parametrize("span", SPANS, ids=str)
def test_every_step_is_in_one_stretch_and_touches_as_its_extent_says(span: Span) -> None:
    """Runs of one step, so that borders lie where they may: stays from any row to any other."""
    steps = np.arange(0.0, 21.0)
    for stored in (0, 3, 8, 30):
        for first, end in ((0, 20), (4, 5), (7, 7), (2, 19)):
            touched = np.zeros(20)
            arrays = (np.array([first]), np.array([end]), np.array([float(stored)]))
            for which, begins, ends, at_zero, growth in stretches(span, steps, *arrays):
                for begin, stop, base in zip(begins, ends, at_zero, strict=True):
                    touched[begin:stop] += base + growth * steps[begin:stop]
                assert set(which.tolist()) <= {0}
            expected = [span.extent(1, stored + k).touched if first <= k < end else 0.0 for k in range(20)]
            assert touched.tolist() == expected


def test_a_kernel_of_prompts_touches_nothing_for_who_decodes() -> None:
    one = np.array([0])
    assert list(stretches(Span("full", 0, "prefill"), np.arange(3.0), one, one + 2, one + 5.0)) == []
