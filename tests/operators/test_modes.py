"""Evaluation mode for a while, from several threads."""

from __future__ import annotations

import threading

from torch import nn

from quickstudy.operators.modes import evaluating


def test_modes_come_back_when_the_last_thread_ends() -> None:
    shared = nn.Dropout()
    one, two = nn.Sequential(shared), nn.Sequential(shared, nn.ReLU().eval())
    first, second = evaluating(one), threading.Event()

    def other() -> None:
        with evaluating(two):
            second.set()
            ended.wait(10)

    ended, thread = threading.Event(), threading.Thread(target=other)
    first.__enter__()
    thread.start()
    assert second.wait(10)
    first.__exit__(None, None, None)
    assert not shared.training
    assert one.training
    ended.set()
    thread.join()
    assert shared.training
    assert two.training
    assert not two[1].training
