"""The contract suite: every shipped method passes, and each check can fail."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli.program import app
from benchmark.contract import scaffold
from benchmark.contract.checks import CHECKS
from benchmark.contract.suite import judge, methods_in_file
from benchmark.errors import UserError
from methods.base.registry import discover

BY_NAME = {check.__name__: check for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted(discover()))
def test_every_shipped_method_keeps_the_contract(name, check):
    assert judge(discover()[name], check).complaint == ""


@pytest.mark.parametrize("template", [scaffold.TEMPLATE, scaffold.ALTERNATING])
def test_a_scaffold_keeps_the_contract_as_it_is(tmp_path, template):
    path = scaffold.write("my-method", tmp_path, template)
    (cls,) = methods_in_file(path)
    assert [v for v in (judge(cls, check) for check in CHECKS) if v.complaint] == []


def test_the_scaffold_never_overwrites_and_wants_kebab_case(tmp_path):
    scaffold.write("my-method", tmp_path)
    with pytest.raises(UserError, match="there already"):
        scaffold.write("my-method", tmp_path)
    with pytest.raises(UserError, match="kebab-case"):
        scaffold.write("MyMethod", tmp_path)


GOOD = '''
"""A method that keeps the contract."""
import torch
from methods.base.problem import Access
from methods.base.method import Method
from methods.base.drawn_images import samples_from
from methods.settings.params import MethodParams, param
from methods.settings.schedule import PaperSchedule
from methods.base.samples import ImageBank

class Probe(Method):
    """Noise, scaled."""
    name = "probe"
    title = "Probe"
    paper = "none"
    # extra

    class Params(MethodParams):
        """Hyper-parameters."""
        scale: float = param(1.0, "scale of the noise", source="none", tune="weight", gt=0)
        temperature: float = param(
            4.0, "temperature", source="none", phase="distillation", tune="temperature", gt=0
        )

    def draw(self, count, stream, problem):
        return torch.randn(count, *problem.image_shape, generator=stream) * self.params.scale

    def synthesize(self, problem, run):
        # before
        return samples_from(lambda count, stream: self.draw(count, stream, problem), run)

    # methods
'''

BREAKAGES = {
    "is_described": [
        ('paper = "none"', 'paper = ""'),
        ('source="none", tune="weight"', 'source=""'),
        ('tune="weight"', "tune=(0.5, 2.0)"),
        ("scale: float = param(1.0", "scale: int = param(1"),
        ("# extra", "schedules = {'mnist': PaperSchedule('Us', '', student_steps=3)}"),
        ("# extra", "schedules = {'mnist': PaperSchedule('Us', 'paper', student_steps=0)}"),
    ],
    "stands_alone": [("import torch\n", "import torch\nimport benchmark.records.record\n")],
    "returns_a_student": [
        (
            "# methods",
            "def distill(self, problem, samples, run):\n"
            "        run.log('distillation', 0, 1, loss=0.0)\n"
            "        return problem.make_student()",
        )
    ],
    "supports_says_why_not": [("# methods", "def supports(self, problem):\n        return False")],
    "same_seed_same_bits": [(", generator=stream)", ")")],
    "other_seed_other_bits": [
        ("generator=stream)", "generator=torch.Generator().manual_seed(0))"),
    ],
    "leaves_the_teacher_alone": [
        ("# before", "problem.teacher.network.classifier.bias.data.add_(1)"),
        ("# before", "problem.teacher.network.train()"),
        ("# before", "problem.teacher.network.norm1.register_forward_hook(lambda *a: None)"),
    ],
    "asks_only_for_what_it_declares": [
        ("# extra", "access = Access.TRAIN_IMAGES"),
        ("# before", "problem.proxy_images"),
    ],
    "test_data_is_out_of_reach": [
        (
            "# before",
            "from importlib import import_module\n"
            "        task = import_module('benchmark.tasks.tiny').Tiny()\n"
            "        run.stolen = [lambda data=task.load(None).test.images: data]",
        )
    ],
    "keeps_its_budget": [
        (
            "# methods",
            "def distill(self, problem, samples, run):\n"
            "        super().distill(problem, samples, run)\n"
            "        return super().distill(problem, samples, run)",
        ),
        (
            "# methods",
            "def synthesize(self, problem, run):\n"
            "        from methods.base import ImageBank\n"
            "        return ImageBank(self.draw(32, run.stream('x'), problem), 8)",
        ),
    ],
    "resumes_to_the_same_record": [
        (
            "# methods",
            "calls = 0\n\n"
            "    def objective(self, problem):\n"
            "        from methods.base import Distillation\n"
            "        type(self).calls += 1\n"
            "        return Distillation(self.params.temperature + type(self).calls)",
        )
    ],
    "goes_on_from_where_it_stopped": [
        (
            "# before",
            "stream = run.stream('walk')\n"
            "        for step in run.steps('walk', 40):\n"
            "            loss = torch.rand((), generator=stream)\n"
            "            run.log('walk', step, 40, loss=loss)",
        )
    ],
    "explains_bad_parameters": [
        (
            "# extra",
            "@classmethod\n"
            "    def build_params(cls, overrides, family=''):\n"
            "        return cls.Params(**{k: v for k, v in overrides.items() if k == 'scale'})",
        )
    ],
    "every_parameter_acts": [("* self.params.scale", "* 1.0")],
}


def load(tmp_path: Path, source: str, number: int = 0):
    path = tmp_path / f"probe{number}.py"
    path.write_text(source)
    (cls,) = methods_in_file(path)
    return cls


def test_the_unbroken_probe_passes_every_check(tmp_path):
    cls = load(tmp_path, GOOD)
    assert [v for v in (judge(cls, check) for check in CHECKS) if v.complaint] == []


def test_every_check_has_a_breakage_that_it_must_notice():
    assert set(BREAKAGES) == set(BY_NAME)


@pytest.mark.parametrize(
    ("check", "old", "new"),
    [(check, old, new) for check, changes in BREAKAGES.items() for old, new in changes],
)
def test_a_check_notices_its_breakage(tmp_path, check, old, new):
    assert old in GOOD
    cls = load(tmp_path, GOOD.replace(old, new))
    assert judge(cls, BY_NAME[check]).complaint != ""


def test_dfkd_test_reports_what_is_wrong_and_exits_1(tmp_path):
    path = tmp_path / "probe.py"
    path.write_text(GOOD.replace("* self.params.scale", "* 1.0"))
    result = CliRunner().invoke(app, ["test", str(path), "--only", "every_parameter"])
    assert result.exit_code == 1
    assert "'scale' changes nothing" in result.output
    assert "0 passed, 1 failed" in result.output


@pytest.mark.parametrize(
    ("text", "message"), [("x = 1\n", "defines no method"), ("import nothing_here\n", "not import")]
)
def test_dfkd_test_answers_a_useless_file_in_one_line(tmp_path, text, message):
    path = tmp_path / "useless.py"
    path.write_text(textwrap.dedent(text))
    result = CliRunner().invoke(app, ["test", str(path)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
