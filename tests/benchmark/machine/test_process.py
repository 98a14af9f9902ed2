from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from benchmark.machine import children, process, stopping
from benchmark.machine.process import process_as_before, spoilt


def test_a_thread_that_is_left_behind_spoils_the_process_until_it_ends() -> None:
    wait = threading.Event()
    thread = threading.Thread(target=wait.wait, name="left", daemon=True)
    with process_as_before():
        thread.start()
    assert spoilt() == "the thread left"
    wait.set()
    thread.join()
    assert spoilt() == ""


def test_a_thread_from_before_and_one_that_has_ended_spoil_nothing() -> None:
    wait = threading.Event()
    before = threading.Thread(target=wait.wait, daemon=True)
    before.start()
    with process_as_before():
        short = threading.Thread(target=int)
        short.start()
        short.join()
    assert spoilt() == ""
    wait.set()


def test_what_cannot_be_changed_back_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_unrestored", [])
    mode = torch.inference_mode()
    with process_as_before():
        mode.__enter__()
    mode.__exit__(None, None, None)
    assert "inference mode cannot be left" in spoilt()


def test_a_closed_stream_is_opened_again_on_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    own = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), "utf-8")
    monkeypatch.setattr(sys, "stdout", own)
    with process_as_before():
        sys.stdout.close()
    assert not sys.stdout.closed
    assert sys.stdout.fileno() == 1
    assert sys.stdout.encoding == "utf-8"


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_time_limit_survives_a_method_that_takes_its_timer(seconds: float) -> None:
    deadline = time.monotonic() + 60
    with stopping.on_signals(deadline, patient=True):
        with process_as_before():
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, seconds)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50
        assert callable(signal.getsignal(signal.SIGALRM))


def test_a_time_limit_that_passed_unheard_is_heard_afterwards() -> None:
    with stopping.on_signals(time.monotonic() + 0.01, patient=True):
        with process_as_before():
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            time.sleep(0.03)
        time.sleep(0.03)
        assert stopping.requested() == stopping.LIMIT


def test_a_timer_of_somebody_else_goes_on_where_no_grid_runs() -> None:
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with process_as_before():
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert 90 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_children_do_not_outlive_the_block_even_if_they_hide() -> None:
    before = children.own()
    mine = subprocess.Popen(["sleep", "60"])
    with children.children_as_before():
        # Its parent ends at once, and it has a session of its own.
        subprocess.run(["sh", "-c", "setsid sleep 60 > /dev/null 2>&1 &"], check=True)
        subprocess.Popen(["sleep", "60"])
        assert len(children.own() - before) == 3
    assert children.own() - before == {mine.pid}
    mine.kill()
    mine.wait()
