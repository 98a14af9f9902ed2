"""Methods that misbehave, each in its own way, and one that does not."""

from __future__ import annotations

import math
import os
import pathlib
import random
import sys
import time

import numpy as np
import torch

from benchmark.tasks.digits import Digits
from methods.baselines import Noise


class Fine(Noise):
    name = "fine"
    title = "Fine"


class Remarks(Fine):
    name = "remarks"
    title = "Remarks"

    def note(self, problem):
        return f"{problem.num_classes} classes"


class Raises(Fine):
    name = "raises"
    title = "Raises"

    def synthesize(self, problem, run):
        raise RuntimeError("a cable came loose\nbehind the rack")


class Tells(Fine):
    name = "tells"
    title = "Tells what it sees of the environment"

    def synthesize(self, problem, run):
        raise RuntimeError(os.environ.get("DFKD_TEST_VALUE", "nothing"))


class Diverges(Fine):
    name = "diverges"
    title = "Diverges"

    def synthesize(self, problem, run):
        run.log("synthesis", 0, 3, loss=1.0)
        run.log("synthesis", 1, 3, loss=math.nan)


class Exits(Fine):
    name = "exits"
    title = "Exits"

    def synthesize(self, problem, run):
        sys.exit(0)


class ExitsEarly(Fine):
    name = "exits-early"
    title = "Exits before it is run"

    def note(self, problem):
        sys.exit(0)


class ExhaustsEarly(Fine):
    name = "exhausts-early"
    title = "Exhausts the memory before it is run"

    def note(self, problem):
        torch.use_deterministic_algorithms(True)
        raise MemoryError("no room")


class Tampers(Fine):
    name = "tampers"
    title = "Tampers"

    def synthesize(self, problem, run):
        with torch.no_grad():
            next(problem.teacher.network.buffers()).add_(1e-3)
        return super().synthesize(problem, run)


class Peeks(Fine):
    name = "peeks"
    title = "Peeks"

    def synthesize(self, problem, run):
        return problem.train_images


class Exhausts(Fine):
    name = "exhausts"
    title = "Exhausts"

    def synthesize(self, problem, run):
        raise torch.OutOfMemoryError("no room")


class Declines(Fine):
    name = "declines"
    title = "Declines"

    def supports(self, problem):
        return "it wants bigger images"


class Forgets(Fine):
    name = "forgets"
    title = "Forgets"

    def fit(self, problem, run):
        super().fit(problem, run)


class Misshapes(Fine):
    name = "misshapes"
    title = "Misshapes"

    def fit(self, problem, run):
        return torch.nn.Linear(3, 3)


class Unbuildable(Fine):
    name = "unbuildable"
    title = "Unbuildable"

    def __init__(self, params=None):
        raise RuntimeError("not today")


class Dies(Fine):
    name = "dies"
    title = "Dies"

    def synthesize(self, problem, run):
        os._exit(9)


class Unprintable(Exception):
    def __str__(self):
        raise TypeError("nothing to say")


class Mumbles(Fine):
    name = "mumbles"
    title = "Mumbles"

    def synthesize(self, problem, run):
        raise Unprintable


class Garbles(Fine):
    name = "garbles"
    title = "Garbles"

    def synthesize(self, problem, run):
        raise FileNotFoundError(os.fsdecode(b"caf\xe9.txt"))


def flag():
    return pathlib.Path(os.environ["DFKD_CACHE"]) / "neighbour-started"


class Neighbour(Fine):
    name = "neighbour"
    title = "Neighbour"

    def synthesize(self, problem, run):
        flag().touch()
        time.sleep(1)
        return super().synthesize(problem, run)


class Drags(Fine):
    name = "drags"
    title = "Drags its neighbour down"

    def synthesize(self, problem, run):
        for _ in range(600):
            if flag().exists():
                break
            time.sleep(0.05)
        os._exit(9)


class Hangs(Fine):
    name = "hangs"
    title = "Hangs"

    def synthesize(self, problem, run):
        time.sleep(600)


class Dawdles(Fine):
    name = "dawdles"
    title = "Dawdles"

    def synthesize(self, problem, run):
        stream = run.stream("dawdling")
        for step in run.steps("dawdling", 40, stream=stream):
            run.log("dawdling", step, 40, loss=torch.rand((), generator=stream))
            time.sleep(0.02)
        return super().synthesize(problem, run)


class Gambles(Fine):
    name = "gambles"
    title = "Gambles with everybody's dice"

    def synthesize(self, problem, run):
        random.seed(run.seed)
        np.random.seed(run.seed)
        for step in run.steps("dawdling", 40):
            # Two normal ones: numpy keeps the second for later.
            run.log("dawdling", step, 40, loss=random.random() + np.random.randn())
        return super().synthesize(problem, run)


class Signs(Fine):
    name = "signs"
    title = "Signs with its process"

    def note(self, problem):
        return str(os.getpid())


class Meddles(Fine):
    name = "meddles"
    title = "Meddles with the process"

    def synthesize(self, problem, run):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        torch.set_num_threads(3)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = not torch.backends.cudnn.allow_tf32
        torch.set_default_device("meta")
        torch.set_float32_matmul_precision("medium")
        os.chdir("/")
        raise RuntimeError("and leaves it like that")


class Forgetful(Fine):
    name = "forgetful"
    title = "Does not name all of its state"

    def synthesize(self, problem, run):
        stream = run.stream("forgetting")
        for step in run.steps("forgetting", 40):
            run.log("forgetting", step, 40, loss=torch.rand((), generator=stream))
        return super().synthesize(problem, run)


class Overtrains(Fine):
    name = "overtrains"
    title = "Overtrains"

    def fit(self, problem, run):
        student = problem.make_student().train()
        optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
        for _ in range(100 * run.budget.student_steps):
            images = torch.randn(run.budget.student_batch, *problem.image_shape)
            optimizer.zero_grad()
            student(images).square().mean().backward()
            optimizer.step()
        return student


class LargeBatches(Fine):
    name = "large-batches"
    title = "Large batches"

    def fit(self, problem, run):
        student = problem.make_student().train()
        optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
        for _ in range(run.budget.student_steps):
            images = torch.randn(100 * run.budget.student_batch, *problem.image_shape)
            optimizer.zero_grad()
            student(images).square().mean().backward()
            optimizer.step()
        return student


class MakesTooMany(Fine):
    name = "makes-too-many"
    title = "Makes too many images"

    def synthesize(self, problem, run):
        run.ledger.synthetic_images += 10**9
        return super().synthesize(problem, run)


class AsksAround(Fine):
    name = "asks-around"
    title = "Asks around"

    def synthesize(self, problem, run):
        for _ in range(1000):
            problem.teacher(torch.randn(run.budget.synthesis_batch, *problem.image_shape))
        return super().synthesize(problem, run)


class ReturnsTheTeacher(Fine):
    name = "returns-the-teacher"
    title = "Returns the teacher"

    def fit(self, problem, run):
        super().fit(problem, run)
        return problem.teacher.network


class LeansOnTheTeacher(Fine):
    name = "leans-on-the-teacher"
    title = "Leans on the teacher"

    def fit(self, problem, run):
        student = super().fit(problem, run)
        teacher = problem.teacher.network
        student.forward = teacher.forward
        return student


class NoOptimizer(Fine):
    name = "no-optimizer"
    title = "No optimizer"

    def fit(self, problem, run):
        student = problem.make_student()
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.mul_(0.9)
        return student


class TrainsAside(Fine):
    name = "trains-aside"
    title = "Trains a network of its own, and copies its weights at the end"

    def fit(self, problem, run):
        aside = Digits().make_student().train()
        optimizer = torch.optim.Adam(aside.parameters(), lr=1e-3)
        for _ in range(100 * run.budget.student_steps):
            images = torch.randn(run.budget.student_batch, *problem.image_shape)
            optimizer.zero_grad()
            aside(images).square().mean().backward()
            optimizer.step()
        student = problem.make_student()
        student.load_state_dict(aside.state_dict())
        return student
