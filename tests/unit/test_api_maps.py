"""The residency map and the cliff from Python: frames, pages, pictures, files."""

from __future__ import annotations

import pandas as pd
import pytest
from exploring import small, small_file
from matplotlib.figure import Figure

import ctxsim
from ctxsim.errors import SpecError

AXES = {"contexts": "log:500:16000:4", "idles": "log:1 s:10000 s:5"}


def test_a_map_is_a_frame_with_limits_and_machines(tmp_path) -> None:
    found = ctxsim.residency(small_file(tmp_path), machines=["a100-80gb-sxm", "h100-80gb-sxm"], **AXES)
    assert list(found.frame.columns[:6]) == [
        "context_tokens", "idle_s", "link_ratio", "price_ratio", "return_ratio", "choice",
    ]  # fmt: skip
    assert len(found.frame) == 20
    assert set(found.limits["context_tokens"]) == {4096, 4089}
    assert list(found.machines["hardware"]) == ["a100-80gb-sxm", "h100-80gb-sxm"]
    assert found.check.empty
    page = found._repr_html_()
    assert "keep costs less than swap while idle &lt;" in page
    assert "Limits by context" in page
    assert repr(found) == "<residency map of small: 20 rows>"


def test_a_map_of_what_was_loaded_is_the_same_and_machines_need_it_unchanged(tmp_path) -> None:
    scenario = small(tmp_path)
    pd.testing.assert_frame_equal(
        ctxsim.residency(scenario, **AXES).frame, ctxsim.residency(small_file(tmp_path), **AXES).frame
    )
    from dataclasses import replace

    with pytest.raises(SpecError, match="expected a scenario as it was loaded"):
        ctxsim.residency(replace(scenario, name="other"), machines=["h100-80gb-sxm"], **AXES)


def test_a_map_is_drawn_with_a_panel_each_and_saved(tmp_path) -> None:
    found = ctxsim.residency(small(tmp_path), return_ratios=(1, 0.5, 0.1), **AXES)
    figure, axes = found.plot.map()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    assert [one.get_title(loc="left") for one in axes] == ["everyone comes back", "50% come back", "10% come back"]
    folder = found.save(tmp_path / "saved")
    assert {path.name for path in folder.iterdir()} == {
        "residency.csv", "residency.parquet", "residency.svg", "limits.csv", "limits.parquet",
    }  # fmt: skip
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "residency.csv").dropna(axis=1), found.frame.dropna(axis=1), check_dtype=False
    )
    assert (folder / "residency.svg").read_text() == (found.save(tmp_path / "again") / "residency.svg").read_text()


def test_a_cliff_is_a_frame_and_drawn_and_saved(tmp_path) -> None:
    overrides = {"serving.num_gpu_blocks_override": 1000, "serving.host_kv_capacity": "3 GB"}
    found = ctxsim.cliff(small(tmp_path, overrides))
    assert {"load", "hbm_ratio", "room_ratio", "region", "sessions_per_hour", "lost_ratio"} <= set(found.frame)
    assert repr(found).startswith("<working-set map of small: ")
    figure, axes = found.plot.curve()
    figure.draw_without_rendering()
    assert [one.get_title(loc="left") for one in axes] == ["Sessions an hour", "Mean TTFT", "Computed again"]
    folder = found.save(tmp_path / "saved")
    assert {path.name for path in folder.iterdir()} == {"cliff.csv", "cliff.parquet", "cliff.svg"}
