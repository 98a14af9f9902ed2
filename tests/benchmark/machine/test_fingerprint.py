"""What a fingerprint of code is of: all that is really imported, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.machine import fingerprint as code
from benchmark.machine.fingerprint import NETWORKS, ROOT, fingerprint, forget, sources
from benchmark.tasks.registry import get_task
from methods.base.registry import discover
from methods.objectives.registry import discover_objectives


def of(*files: Path) -> str:
    """As another process would see it, in which nothing is remembered."""
    forget()
    return fingerprint(*files)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of a user's: a method, two helpers, a package, and what nobody imports."""
    files = {
        "blur.py": '"""A method."""\nimport torch\nfrom smooth import side\n\nX = side()\n',
        "smooth.py": "from kernels import box\n"
        "def side():\n    import lazily\n    return box.SIDE\n",
        "lazily.py": "Y = 1\n",
        "kernels/__init__.py": "Z = 1\n",
        "kernels/box.py": "from .sizes import SIDE as SIDE\n",
        "kernels/sizes.py": "SIDE = 3\n",
        "kernels/unused.py": "A = 1\n",
        "another_method.py": "B = 1\n",
        "torch.md": "no code\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "file",
    [
        "blur.py",
        "smooth.py",
        "lazily.py",
        "kernels/__init__.py",
        "kernels/box.py",
        "kernels/sizes.py",
    ],
)
def test_an_edit_of_what_is_imported_counts(own: Path, file: str) -> None:
    before = of(own / "blur.py")
    with (own / file).open("a") as text:
        text.write("C = 1\n")
    assert of(own / "blur.py") != before


@pytest.mark.parametrize("file", ["another_method.py", "kernels/unused.py"])
def test_an_edit_of_what_is_not_imported_does_not(own: Path, file: str) -> None:
    before = of(own / "blur.py")
    (own / file).write_text("C = 1\n")
    (own / "new.py").write_text("C = 1\n")
    assert of(own / "blur.py") == before


def test_comments_docstrings_and_layout_count_for_nothing(own: Path) -> None:
    before = of(own / "blur.py")
    (own / "blur.py").write_text(
        '"""In other words."""\n# Why.\nimport torch\nfrom smooth import side\n'
        'X = (\n    side()\n)\n"""What X is."""\n'
    )
    (own / "smooth.py").write_text(
        'from kernels import box\ndef side():\n    """Of the blur."""\n    import lazily\n'
        "    return box.SIDE  # pixels\n"
    )
    assert of(own / "blur.py") == before


def test_imports_for_type_checkers_alone_are_not_followed(own: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import another_method\n"
    (own / "typed.py").write_text(text)
    before = of(own / "typed.py")
    (own / "another_method.py").write_text("C = 1\n")
    assert of(own / "typed.py") == before


def test_where_the_files_lie_counts_for_nothing(
    own: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(own, elsewhere)
    assert of(own / "blur.py") == of(elsewhere / "blur.py")


def test_a_file_that_is_no_python_is_told_apart_by_its_text(own: Path) -> None:
    (own / "kernels" / "sizes.py").write_text("SIDE = = 3\n")
    before = of(own / "blur.py")
    (own / "kernels" / "sizes.py").write_text("SIDE = = 4\n")
    assert of(own / "blur.py") != before


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the packages, to be edited; fingerprints are taken of it."""
    for package in ("methods", "benchmark"):
        shutil.copytree(ROOT / package, tmp_path / package)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    monkeypatch.setattr(code, "NETWORKS", tmp_path / NETWORKS.relative_to(ROOT))
    return tmp_path


DAFL_MNIST, DAFL_DIGITS, ZSKD_MNIST, ZSKD_DIGITS, FITNETS = range(5)
EVERYTHING = {DAFL_MNIST, DAFL_DIGITS, ZSKD_MNIST, ZSKD_DIGITS, FITNETS}


def fingerprints(checkout: Path) -> list[str]:
    """Fingerprints of two methods on two tasks, and of one with another objective."""
    dafl, zskd = (discover()[name] for name in ("dafl", "zskd"))
    mnist, digits = (type(get_task(name)) for name in ("mnist", "digits"))
    fitnets = discover_objectives()["fitnets"]
    pairs = [(dafl, mnist), (dafl, digits), (zskd, mnist), (zskd, digits)]
    forget()
    return [
        fingerprint(*(checkout / path.relative_to(ROOT) for path in sources(*classes)))
        for classes in [*pairs, (dafl, mnist, fitnets)]
    ]


EDITS: dict[str, set[int]] = {
    "methods/dafl.py": {DAFL_MNIST, DAFL_DIGITS, FITNETS},
    "methods/zskd.py": {ZSKD_MNIST, ZSKD_DIGITS},
    "methods/base/student.py": EVERYTHING,
    "methods/losses/predictions.py": EVERYTHING,
    "methods/synthesis/generator.py": {DAFL_MNIST, DAFL_DIGITS, FITNETS},
    "methods/objectives/fitnets.py": {FITNETS},
    "benchmark/tasks/models/lenet.py": {DAFL_MNIST, ZSKD_MNIST, FITNETS},
    "benchmark/tasks/models/small_cnn.py": {DAFL_DIGITS, ZSKD_DIGITS},
    "benchmark/tasks/models/unet.py": set(),
    "benchmark/tasks/data/mnist.py": set(),
    "benchmark/tasks/base.py": set(),
    "benchmark/runs/trial.py": set(),
    "benchmark/analysis/frame.py": set(),
    "methods/own_teacher/distill.py": set(),
    "methods/degan.py": set(),
    "methods/losses/__init__.py": set(),
}


@pytest.mark.parametrize("file", EDITS)
def test_what_an_edit_of_this_program_costs(checkout: Path, file: str) -> None:
    """Nothing that does not import the edited module, and a comment costs nothing at all."""
    before = fingerprints(checkout)
    assert len(set(before)) == len(EVERYTHING)
    text = (checkout / file).read_text()
    (checkout / file).write_text(text + "\n# A comment.\n")
    assert fingerprints(checkout) == before
    (checkout / file).write_text(text + "\nEDITED = True\n")
    now = fingerprints(checkout)
    assert {n for n in EVERYTHING if now[n] != before[n]} == EDITS[file]


def test_a_new_method_costs_no_other_anything(checkout: Path) -> None:
    before = fingerprints(checkout)
    another = (checkout / "methods" / "rdskd.py").read_text().replace('name = "', 'name = "my-')
    (checkout / "methods" / "mine.py").write_text(another)
    assert fingerprints(checkout) == before


def test_a_task_that_builds_on_another_has_the_code_of_both() -> None:
    class Smaller(type(get_task("digits"))):  # type: ignore[misc]
        name = "smaller"

    files = {path.name for path in sources(Smaller)}
    assert files == {Path(__file__).name, "digits.py"}


def test_every_method_and_objective_has_a_fingerprint() -> None:
    classes = [*discover().values(), *discover_objectives().values()]
    assert all(len(fingerprint(*sources(cls))) == 16 for cls in classes)


def test_code_that_runs_where_no_types_are_checked_counts(own: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import another_method\n"
    (own / "runs.py").write_text(text)
    before = of(own / "runs.py")
    (own / "another_method.py").write_text("C = 1\n")
    assert of(own / "runs.py") != before


def test_a_helper_behind_a_link_is_followed(
    own: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "linked.py"
    elsewhere.write_text("D = 1\n")
    (own / "linked.py").symlink_to(elsewhere)
    (own / "method.py").write_text("import linked\n")
    before = of(own / "method.py")
    elsewhere.write_text("D = 2\n")
    assert of(own / "method.py") != before


def test_helpers_that_swap_their_contents_are_noticed(own: Path) -> None:
    (own / "method.py").write_text("import smooth, lazily\n")
    before = of(own / "method.py")
    one, other = ((own / name).read_text() for name in ("smooth.py", "lazily.py"))
    (own / "smooth.py").write_text(other + "import kernels.box\n")
    (own / "lazily.py").write_text(one)
    assert of(own / "method.py") != before


def test_a_helper_below_the_folder_sees_what_lies_in_it(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(own)
    (own / "below").mkdir()
    (own / "below" / "inner.py").write_text("import another_method\n")
    (own / "method.py").write_text("import below.inner\n")
    before = of(own / "method.py")
    (own / "another_method.py").write_text("C = 1\n")
    assert of(own / "method.py") != before


@pytest.mark.parametrize(
    ("code", "file"),
    [
        ("import importlib\nh = importlib.import_module('_helper')\n", "_helper.py"),
        ("import importlib\nh = importlib.import_module('parts.inner')\n", "parts/inner.py"),
        ("h = __import__('_helper')\n", "_helper.py"),
        ("exec(open(HERE / '_helper.py').read())\n", "_helper.py"),
        ("scales = json.load(open(HERE / 'scales.json'))\n", "scales.json"),
        ("weights = load(HERE / 'parts/weights.bin')\n", "parts/weights.bin"),
    ],
)
def test_a_file_that_a_user_s_file_names_counts(tmp_path: Path, code: str, file: str) -> None:
    meth = tmp_path / "meth.py"
    meth.write_text(code)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"SCALE = 1")
    before = of(meth)
    (tmp_path / file).write_bytes(b"SCALE = 2")
    assert of(meth) != before


def test_what_lies_outside_of_a_user_s_folder_does_not_count_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "meth.py").write_text("a, b = '../outside.txt', '/outside.txt'\n")
    (tmp_path / "outside.txt").write_text("1")
    before = of(folder / "meth.py")
    (tmp_path / "outside.txt").write_text("2")
    assert of(folder / "meth.py") == before
