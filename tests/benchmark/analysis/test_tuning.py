from __future__ import annotations

from typing import Any

from benchmark.analysis.tuning import Trial, Tuning, tunings
from benchmark.records.record import Record
from benchmark.suites.choices import By
from tests.helpers import failed_record, make_record


def trial_of(*records: Record, number: int, method: str = "rdskd") -> Trial:
    return Trial(method, 1, number, {"lr": number}, tuple(r.run_id for r in records))


def made(number: int, agreement: float | None, seed: int = 100, **options: Any) -> Record:
    metrics = {} if agreement is None else {"agreement": agreement}
    options = {"params": {"lr": float(number)}, "purpose": "tune", **options}
    return make_record(seed=seed, metrics={**metrics, **options.pop("more", {})}, **options)


def only(records: list[Record], by: By = "agreement", trials: list[Trial] | None = None) -> Tuning:
    usual = [trial_of(record, number=i) for i, record in enumerate(records)]
    (tuning,) = tunings(trials or usual, records, by)
    return tuning


def test_the_trial_with_the_best_mean_over_the_seeds_is_chosen() -> None:
    pairs = [
        (made(i, a, 100), made(i, b, 101)) for i, (a, b) in enumerate([(0.5, 0.6), (0.9, 0.3)])
    ]
    trials = [trial_of(*pair, number=i) for i, pair in enumerate(pairs)]
    choice = only([r for pair in pairs for r in pair], trials=trials).choice()
    assert (choice.chosen, choice.score, choice.published) == (1, 0.6, 0.55)
    assert choice.params == {"lr": 1}
    assert choice.runs == [record.run_id for record in pairs[1]]


def test_of_equal_trials_the_first_is_chosen() -> None:
    assert only([made(0, 0.5), made(1, 0.9), made(2, 0.9)]).best == 1
    assert only([made(0, 0.9), made(1, 0.9)]).best == 0


def test_what_test_data_say_changes_nothing() -> None:
    honest = [made(i, a, accuracy=0.5) for i, a in enumerate([0.5, 0.9, 0.7])]
    other = [
        made(
            i,
            a,
            accuracy=accuracy,
            status=status,
            reason="",
            more={"accuracy_oracle": 1 - accuracy, "accuracy_agreement": accuracy},
        )
        for i, (a, accuracy, status) in enumerate(
            [(0.5, 0.99, "ok"), (0.9, 0.1, "collapsed"), (0.7, 0.98, "ok")]
        )
    ]
    assert [r.run_id for r in honest] == [r.run_id for r in other]
    assert only(honest).choice() == only(other).choice()
    assert only(other).best == 1


def test_a_failed_trial_never_wins_and_is_counted() -> None:
    broken = failed_record("diverged", seed=100, params={"lr": 1.0}, metrics={"agreement": 1.0})
    spent = made(2, 1.0, status="over_budget")
    tuning = only([made(0, 0.2), broken, spent, made(3, 0.4)])
    assert (tuning.best, tuning.failed) == (3, [1, 2])
    assert tuning.choice().failed == 2
    lost = only([broken, made(1, 0.4, params={"lr": 9.0})])
    assert lost.choice().published is None
    assert only([broken]).why_not == "every trial failed"


def test_a_trial_with_one_failed_seed_has_failed() -> None:
    good, bad = made(1, 0.9), failed_record("error", seed=101, params={"lr": 1.0})
    first = made(0, 0.5), made(0, 0.5, 101)
    trials = [trial_of(*first, number=0), trial_of(good, bad, number=1)]
    assert only([*first, good, bad], trials=trials).best == 0


def test_nothing_is_chosen_before_all_trials_are_there() -> None:
    records = [made(0, 0.5), made(1, 0.9), made(2, 0.7)]
    trials = [trial_of(record, number=i) for i, record in enumerate(records)]
    assert only(records[:2], trials=trials).why_not == "1 of 3 runs are missing"
    stopped = made(2, 0.7, status="interrupted")
    assert only([*records[:2], stopped], trials=trials).missing == 1


def test_the_development_split_is_another_judge_and_old_records_do_not_have_it() -> None:
    records = [
        made(i, a, more={"accuracy_dev": dev})
        for i, (a, dev) in enumerate([(0.9, 0.3), (0.1, 0.8)])
    ]
    assert (only(records).best, only(records, by="dev").best) == (0, 1)
    old = only([*records, made(2, 0.9)], by="dev").why_not
    assert "1 finished run has no score on the development split" in old
    assert "--overwrite always" in old
    mapped = [
        made(i, 0.5, metric="miou", more={"miou_dev": dev}) for i, dev in enumerate([0.3, 0.8])
    ]
    assert only(mapped, by="dev").best == 1


def test_a_method_that_never_shows_its_student_is_told_what_helps() -> None:
    lacking = only([made(0, None), made(1, None)]).why_not
    assert "2 finished runs have no agreement" in lacking
    assert "run.checkpoint" in lacking
    assert "--by dev" in lacking
    assert "--overwrite" not in lacking


def test_a_method_that_cannot_run_there_is_said_with_its_reason() -> None:
    skipped = failed_record("skipped", seed=100)
    assert only([skipped]).why_not == "it broke"


def test_methods_come_in_the_order_of_their_trials() -> None:
    a, b = made(0, 0.5, method="a"), made(0, 0.5, method="b")
    found = tunings(
        [trial_of(b, number=0, method="b"), trial_of(a, number=0, method="a")], [a, b], "agreement"
    )
    assert [tuning.method for tuning in found] == ["b", "a"]
