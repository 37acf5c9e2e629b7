"""Whatever is pasted, the importer answers with a scenario or with worded faults."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctxsim.errors import SpecError
from ctxsim.interop import import_command, scenario_text
from ctxsim.interop.flags import flag_table
from ctxsim.spec.document import parse_document
from ctxsim.spec.scenario import resolve_scenario

SPELLED = {engine: [*flag_table(engine).spellings(), "--unknown", "-x", "--no-seed"] for engine in ("vllm", "sglang")}
VALUES = ["", "0", "1", "2", "8", "-1", "1e9", "0.5", "nan", "128k", "1.5K", "auto", "fp8", "true", "False", "none"]
STARTS = {"vllm": "vllm serve mistral-7b", "sglang": "python -m sglang.launch_server --model-path mistral-7b"}


@st.composite
def commands(draw: st.DrawFn) -> str:
    engine = draw(st.sampled_from(sorted(STARTS)))
    pairs = draw(st.lists(st.tuples(st.sampled_from(SPELLED[engine]), st.sampled_from(VALUES)), max_size=6))
    joint = draw(st.sampled_from([" ", "=", " \\\n "]))
    return " ".join([STARTS[engine], *(f"{flag}{joint}{value}" for flag, value in pairs)])


def check(command: str) -> None:
    """The scenario's file gives it again, or there are faults with words."""
    try:
        found = import_command(command)
    except SpecError as error:
        refused = error
    else:
        assert resolve_scenario(parse_document(scenario_text(found, based=False), "again.yaml")) == found.scenario
        return
    assert all(fault.message for fault in refused.faults)


@settings(max_examples=60)
@given(commands())
def test_flags_in_any_company_make_a_scenario_or_faults(command: str) -> None:
    check(command)


@settings(max_examples=60)
@given(st.text(max_size=80))
@example("-\x1b")
def test_any_text_is_read_or_refused(text: str) -> None:
    check(text)
    check(f"vllm serve mistral-7b {text}")
