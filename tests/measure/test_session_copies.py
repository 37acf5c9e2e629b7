"""Copies of sessions beside passes; needs torch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.cost.host_link import Way  # noqa: E402
from ctxsim.measure import session_copies, sustained  # noqa: E402
from ctxsim.measure.devices import device_of  # noqa: E402
from ctxsim.measure.passes import Passes  # noqa: E402
from ctxsim.measure.serving_kv import Room  # noqa: E402
from ctxsim.measure.session_copies import SessionCopies  # noqa: E402
from ctxsim.measure.small_decoder import small_decoder  # noqa: E402
from ctxsim.measure.stores import token_bytes  # noqa: E402
from ctxsim.spec.scenario import load_scenario  # noqa: E402

SPEC = small_decoder(hidden=64, mlp=128, layers=2, heads=(4, 2), words=100)
TOKEN_BYTES = 2 * 2 * 2 * 16 * 4  # layers x (keys, values) x KV heads x head x fp32


@pytest.fixture(scope="module")
def passes() -> Passes:
    return Passes(SPEC, device_of("cpu"), "fp32", 512)


def test_sessions_go_out_and_others_come_back_layer_by_layer(passes, monkeypatch):
    """Two places on the device, five in host memory, each as long as a session; what is copied is taken down."""
    monkeypatch.setattr(session_copies, "SESSION_TOKENS", 64)
    assert token_bytes(SPEC, torch.float32) == TOKEN_BYTES
    with ThreadPoolExecutor(1) as thread:
        copies = SessionCopies(load_scenario("cpu-small"), passes.model, Room(TOKEN_BYTES, 130, 5 * 64, 0), thread)
        device, host = copies._stores
        assert (device.shape[1], host.shape[1]) == (128, 320)
        assert len(torch.unique(host)) > 1_000
        for out, back in (((0, 0), (1, 2)), ((1, 1), (0, 3)), ((0, 2), (1, 4)), ((1, 3), (0, 0))):
            kept, came = (store.clone() for store in (host, device))
            kept[:, out[1] * 64 :][:, :64] = device[:, out[0] * 64 :][:, :64]
            came[:, back[0] * 64 :][:, :64] = kept[:, back[1] * 64 :][:, :64]
            ratios = copies.beside(lambda: None)
            assert torch.equal(host, kept)
            assert torch.equal(device, came)
            assert len(ratios) == 2


def test_copies_are_compared_with_what_the_calibration_says_of_them_beside_passes(passes, monkeypatch):
    """seconds = start + pieces x descriptor + bytes / rate, each way by its own; a piece a layer."""
    ways = {"to_host": Way(1e6, 0.25, 0.5), "to_device": Way(2e6, 0.5, 0.125)}

    def beside_passes(scenario, direction, beside=False):
        assert beside
        return ways[direction]

    monkeypatch.setattr(session_copies, "way", beside_passes)
    monkeypatch.setattr(session_copies, "copied_s", lambda sources, targets: 3.0)
    called = []
    with ThreadPoolExecutor(1) as thread:
        copies = SessionCopies(load_scenario("cpu-small"), passes.model, Room(1e4, 100, 4_000, 0), thread)
        assert copies.beside(lambda: called.append(1)) == pytest.approx([3.0 / 2.25, 3.0 / 1.25])
    assert called


@pytest.mark.parametrize(("host", "count"), [("1 GiB", 2), ("0 GiB", 0)])
def test_nothing_is_copied_where_host_memory_has_no_room(passes, monkeypatch, host, count):
    """The pass is made all the same."""
    scenario = load_scenario("cpu-small", {"serving.host_kv_capacity": host, "serving.num_gpu_blocks_override": 8})
    called = []
    with ThreadPoolExecutor(1) as thread:
        beside = sustained._copies(scenario, passes, thread)
        assert len(beside(lambda: called.append(1))) == count
    assert called
