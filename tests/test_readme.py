"""What the README promises is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.contract.checks import CHECKS
from benchmark.contract.suite import judge, methods_in_file

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_method_keeps_the_contract(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(# my_methods/blur\.py\n.*?)```", README, re.S)
    path = tmp_path / "blur.py"
    path.write_text(code)
    (cls,) = methods_in_file(path)
    assert [v for v in (judge(cls, check) for check in CHECKS) if v.complaint] == []


def test_the_examples_of_ones_own_teacher_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "distill.md").read_text(encoding="utf-8")
    command, output, code = re.findall(r"```(?:bash|text|python)\n(.*?)```", page, re.S)
    assert command in README
    network = timm.create_model("resnet18", num_classes=10)
    save_file(network.state_dict(), tmp_path / "teacher.safetensors")
    ran = CliRunner().invoke(app, shlex.split(command.replace("\\\n", " "))[1:])
    assert ran.exit_code == 0, ran.output
    for line in output.splitlines():
        assert re.sub(r"[\d.]+$|…$", "", line) in ran.output
    assert (tmp_path / "student.safetensors").exists()
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["done"].student(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_every_make_target_it_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)\b", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_it_is_two_screens() -> None:
    assert len(README.splitlines()) <= 200


def test_ci_calls_the_readme_s_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


GENERATED = re.compile(
    r"<!-- (?:overview:begin|leaderboard) .*?(?:overview:end|end leaderboard) -->", re.S
)
TYPED_RESULT = re.compile(
    r"± ?\d|\bp [=<] ?0?\.\d|\d\.\d+ ?%|\d[\d.]* (?:of|to|and) [\d.]+ %"
    r"|\b(?:[\d.]+|an?|half an|two|three|four|five|six|ten|fifty) (?:minute|hour)s?\b"
    r"|\b(?:faster|slower) than\b|\btimes (?:as|faster|slower)\b|\bsettles?\b"
)
"""Scores with intervals, p values, durations and verdicts, which only commands may write."""

WRITTEN_BY_HAND = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile")),
    *(
        ROOT / "docs" / f"{name}.md"
        for name in (
            *("code", "commands", "compare", "distill", "fairness", "images", "own-task"),
            *("reproduce", "segmentation"),
        )
    ),
    *sorted((ROOT / "benchmark" / "suites").rglob("*.toml")),
]


@pytest.mark.parametrize("path", WRITTEN_BY_HAND, ids=lambda path: path.name)
def test_no_result_is_typed_by_hand(path: Path) -> None:
    text = GENERATED.sub("", path.read_text(encoding="utf-8"))
    assert TYPED_RESULT.findall(text) == []


def test_the_marks_of_typed_results_are_noticed() -> None:
    typed = (
        "MSKD has 95.6 ± 0.6",
        "better (p = 0.035)",
        "97.0 and 96.6 %",
        "runs in two minutes",
        "takes an hour",
        "the rate at which it settles",
        "so that short budgets settle too",
    )
    assert [text for text in typed if not TYPED_RESULT.search(text)] == []


def test_every_page_of_results_is_checked_in_ci() -> None:
    assert "dfkd pages --check" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "<!-- overview:begin mnist:cpu" in README
