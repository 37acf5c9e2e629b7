"""Sessions keep what they have stored wherever they are moved; needs torch."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason='needs the extra "measure"')

from ctxsim.errors import CtxsimError  # noqa: E402
from ctxsim.measure.arena import Arena  # noqa: E402
from ctxsim.measure.host_blocks import HostBlocks  # noqa: E402

BLOCK = 4


class Model:
    """An arena of so many tokens, and what each session should have in it."""

    def __init__(self, size):
        self.lengths, self.settled = {}, 0
        self.arena = Arena(torch.zeros(2, size, 3), BLOCK, lambda: self.lengths, self.settle)

    def settle(self):
        self.settled += 1

    def grow(self, session, tokens):
        self.arena.place(session, tokens)
        for layer, rows in enumerate(self.arena.rows(session, self.lengths.get(session, 0), tokens)):
            rows[:] = 1000 * session + layer + torch.arange(self.lengths.get(session, 0), tokens)[:, None] / 500
        self.lengths[session] = tokens

    def check(self):
        for session, tokens in self.lengths.items():
            for layer, rows in enumerate(self.arena.rows(session, 0, tokens)):
                expected = 1000 * session + layer + torch.arange(tokens)[:, None] / 500
                assert torch.equal(rows, expected.expand(tokens, 3))


@pytest.mark.parametrize("seed", range(20))
def test_sessions_come_grow_and_go_and_keep_what_they_have(seed):
    draw, model, size = random.Random(seed), Model(160), 160
    for step in range(120):
        session = draw.randrange(6) if model.lengths and draw.random() < 0.7 else step + 10
        taken = sum(-(-n // BLOCK) * BLOCK for s, n in model.lengths.items() if s != session)
        room = size - taken
        has = model.lengths.get(session, 0)
        if room > has:
            model.grow(session, min(room, has + draw.randrange(1, 40)))
        elif model.lengths:
            del model.lengths[draw.choice(list(model.lengths))]
        model.check()
    assert model.arena.moved_tokens > 0


def test_a_session_grows_in_place_while_there_is_a_gap_behind_it():
    model = Model(160)
    model.grow(1, 32)
    model.grow(2, 32)
    for tokens in range(33, 37):
        model.grow(1, tokens)
    assert model.arena.moved_tokens == model.settled == 0


def test_what_nobody_needs_gives_way_before_anything_moves():
    model = Model(40)
    model.grow(1, 20)
    model.grow(2, 20)
    del model.lengths[1]
    model.grow(3, 20)
    assert model.arena.moved_tokens == model.settled == 0
    model.check()


def test_nothing_moves_before_copies_have_ended():
    model = Model(40)
    model.grow(1, 16)
    model.grow(2, 16)
    model.grow(1, 24)
    assert model.settled == 1
    assert model.arena.moved_tokens > 0
    model.check()


def test_more_than_there_is_is_a_fault():
    model = Model(40)
    model.grow(1, 32)
    with pytest.raises(CtxsimError, match="expected room for 12 tokens of session 2, found 8"):
        model.grow(2, 12)


class HostModel:
    """Host blocks, and which stretches of each session are needed."""

    def __init__(self, blocks):
        self.needed, self.ending = {}, {}
        self.host = HostBlocks(torch.zeros(2, blocks * BLOCK, 3), BLOCK, lambda: self.needed, self.settle)

    def settle(self):
        self.needed |= self.ending

    def store(self, session, start, end):
        self.host.take(session, (start, end))
        for (first, last), kept in self.host.runs(session, (start, end)):
            kept[:] = 1000 * session + torch.arange(first, last)[None, :, None]
        self.needed.setdefault(session, []).append((start, end))

    def check(self):
        for session, stretches in self.needed.items():
            for start, end in stretches:
                runs = self.host.runs(session, (start, end))
                assert [t for (first, last), _ in runs for t in range(first, last)] == list(range(start, end))
                for (first, last), kept in runs:
                    expected = 1000 * session + torch.arange(first, last)[None, :, None]
                    assert torch.equal(kept, expected.expand(2, last - first, 3))


def test_host_blocks_are_reused_when_nobody_needs_them_and_runs_stay_together():
    model = HostModel(10)
    model.store(1, 0, 16)
    model.store(2, 8, 24)
    model.needed[1] = [(0, 8)]
    model.store(3, 0, 16)
    model.check()
    assert len(model.host.runs(2, (8, 24))) == 1
    assert len(model.host.runs(3, (0, 16))) == 2


def test_a_session_that_is_stored_again_has_new_places_in_one_piece():
    model = HostModel(12)
    model.store(1, 0, 16)
    model.store(2, 0, 8)
    model.needed[1] = []
    model.store(1, 0, 20)
    assert len(model.host.runs(1, (0, 20))) == 1
    model.check()


def test_copies_that_end_make_room_in_host_memory():
    model = HostModel(8)
    model.store(1, 0, 32)
    model.ending = {1: []}
    model.store(2, 0, 32)
    model.check()
    model.ending = {}
    with pytest.raises(CtxsimError, match="expected room for 1 host blocks for session 3, found 0"):
        model.store(3, 0, 4)
