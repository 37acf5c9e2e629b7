"""residency and cliff as commands: text, JSON by its schema, files, exit codes."""

from __future__ import annotations

import pytest
from command_line import answer, ctxsim
from exploring import POISSON, small_file
from jsonschema import Draft7Validator

from ctxsim.cli.schemas import schema_of

NAME = "yi-34b-50k-a100"
ONE = ("--workers", "1")
SHORT = ("--contexts", "log:1000:200000:5", "--idles", "log:1 s:3600 s:4")


def test_residency_prints_the_boundaries_with_their_numbers() -> None:
    outcome = ctxsim("residency", NAME, "--hardware", "a100-80gb-sxm,a100-40gb-sxm", *SHORT)
    assert (outcome.code, outcome.err) == (0, "")
    for line in (
        "A gap of 60 s at 50,349 tokens: swap (keep 0.0166 USD, swap 0.0009279 USD, recompute 0.0175 USD)",
        "keep costs less than swap while idle <       out + p back = 392.7 ms + 1 x 392.7 ms = 785.4 ms",
        "  1,800 s            83,872",
        "2 x a100-80gb-sxm    6.86   785.4 ms       1,441 s       63.26 s     9.184 s",
        "2 x a100-40gb-sxm: one session needs 12.29 GB of KV cache",
    ):
        assert line in outcome.out
    assert "\u2026" not in outcome.out


def test_residency_as_json_is_what_its_schema_says() -> None:
    words = ("residency", NAME, "--return-ratios", "1,0.05", "--hardware", "h100-80gb-sxm", *SHORT)
    found = answer(*words)
    assert found["schema"] == "ctxsim.residency/1"
    result = found["result"]
    Draft7Validator(schema_of("residency")).validate(result)
    assert len(result["rows"]) == 5 * 4 * 2
    assert result["own_choice"] == "swap"
    assert {row["choice"] for row in result["rows"]} == {"keep", "swap", "recompute", "drop"}
    assert result["machines"][0]["hardware"] == "h100-80gb-sxm"
    assert answer(*words)["result"] == result


def test_residency_simulates_points(tmp_path) -> None:
    path = str(small_file(tmp_path))
    words = ("residency", path, "--check", "2", "--idles", "log:5 s:20 s:5", "--contexts", "log:2000:8000:4", *ONE)
    outcome = ctxsim(*words, "--out", str(tmp_path / "out"))
    assert outcome.code == 0
    assert "Simulated: of 2 points" in outcome.out
    assert "\u2026" not in outcome.out
    assert (tmp_path / "out" / "check.csv").read_text().startswith("context_tokens,idle_s,choice,")
    result = answer(*words)["result"]
    assert len(result["check"]) == 2
    Draft7Validator(schema_of("residency")).validate(result)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--link-ratios", "fast"), 2, '--link-ratios: expected numbers parted by commas, found "fast"'),
        (("--return-ratios", "2"), 2, "return_ratios: expected a share from 0 to 1, found 2"),
        (("--contexts", "1:2"), 2, "expected LO:HI:N for a grid, found LO:HI"),
        (("--set", "hardware=l40s", "--set", "deployment.tensor_parallel=1"), 3, "weights need"),
    ],
)
def test_residency_refuses(words: tuple[str, ...], code: int, said: str) -> None:
    outcome = ctxsim("residency", NAME, *words)
    assert outcome.code == code
    assert said in outcome.err


def test_cliff_says_where_it_lies(tmp_path) -> None:
    words = ("cliff", str(small_file(tmp_path)), "--set", "serving.num_gpu_blocks_override=1000", "--set",
             "serving.host_kv_capacity=3 GB", "--no-progress", *ONE)  # fmt: skip
    outcome = ctxsim(*words, "--out", str(tmp_path / "out"))
    assert outcome.code == 0
    assert "HBM is full at" in outcome.out
    assert "(closed form): the cliff" in outcome.out
    assert "Simulated            the cliff lies between" in outcome.out
    assert "\u2026" not in outcome.out
    assert (tmp_path / "out" / "cliff.svg").exists()
    found = answer(*words)
    assert found["schema"] == "ctxsim.cliff/1"
    Draft7Validator(schema_of("cliff")).validate(found["result"])
    located = found["result"]["located"]
    assert located["brackets"][0]["past"] - located["brackets"][0]["before"] == 1


def test_cliff_says_why_there_is_none(tmp_path) -> None:
    path = str(small_file(tmp_path))
    outcome = ctxsim("cliff", path, "--set", "serving.residency=keep", "--set", "serving.num_gpu_blocks_override=1000",
                     "--no-progress", *ONE)  # fmt: skip
    assert "no cliff: nothing is lost up to" in outcome.out
    refused = ctxsim("cliff", path, "--set", f"workload={POISSON['workload']}", *ONE)
    assert refused.code == 2


def test_cliff_can_be_interrupted(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ctxsim.explore import executors

    def interrupting(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executors, "run_chunk", interrupting)
    outcome = ctxsim("cliff", str(small_file(tmp_path)), "--no-progress", *ONE)
    assert outcome.code == 130
    assert outcome.err.startswith("interrupted (simulations: 0 of ")
