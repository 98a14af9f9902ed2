"""How to read the leaderboard: the text above its tables."""

from __future__ import annotations

HEADER = """# Leaderboard

Made by `dfkd leaderboard` from the records under `results/`; do not edit it by hand.

- **Headline and variants**: the first tables of a task rank every method at its published setting
  and, where it was tuned, at the tuned one. Rows as published are ranked among themselves, and so
  are those that were tuned in the same way. Neither scores nor numbers of runs choose a row.
  Ablations and other variants have a table of their own below, without ranks.
- **setting**: *as published* is the paper's setting for the task, or the method's default where the
  paper is silent; `docs/differences.md` names the defaults that were chosen on test data. *tuned, n
  trials, by agreement* was chosen by `dfkd tune` among n settings, by agreement with the teacher on
  the trial's own synthetic images, which may be high for a bad student whose images are easy; *by
  dev* by the score on a development split, which is held out of the training images and needs
  labels. The images that give the scores choose no tuned setting. *of the suite* is neither: the
  method has no run as published, and its suite's setting that departs least is shown.
- **Overall**: the mean over the tasks that the methods of an access class share, and never over one
  task. **mean score** is the mean over tasks of (accuracy − chance) / (teacher's accuracy −
  chance), cut to [0, 1], with failed runs at 0, ± half-width of the 95 % t-interval. **mean rank**
  is the mean over tasks of the rank, with the 95 % interval of a bootstrap over seeds. A task's
  column shows the score on that task and, in brackets, the rank.
- **accuracy**: the accuracy of the student at its **last** step, mean over seeds ± half-width of
  the 95 % t-interval. A run that failed counts at chance level, and so does every score below
  chance, so that a crash is worth no more than a bad student. Where an end would lie beyond what a
  score can be, and from 20 seeds on, when the interval is a BCa bootstrap's, both ends are shown in
  brackets instead.
- **mIoU** replaces accuracy where images are segmented: intersection over union, averaged over the
  classes that the images show. **pixel accuracy** is shown as well.
- **rank**: the rank within an access class, because a method that saw real data is no competitor
  of one that did not. A range is the 95 % interval of a bootstrap over seeds, widened for their
  small number. One seed gives no interval and no claim: *insufficient*. A *reference* is a control
  that learns nothing of the teacher to make its images: it takes no rank, and no rank from others.
  *provisional*: some planned runs never started, or were interrupted; the means are over those that
  ended. *over budget*: some runs spent more than their budget; they count in no mean. *old
  version*: the program has a newer version of the method, which may score otherwise; no published
  number stands beside such a row. Rows of the last three kinds stand below the others.
- **published**: the number in the method's own paper, or in the paper that is usually quoted, for
  the row's method and setting. Its protocol stands below the table: schedule, the checkpoint that
  was picked, teacher. `dfkd reproduce` compares whole published tables with the records.
- **group**: two rows of an access class share a letter where paired sign-flip tests did not tell
  them apart. The tests are on their common seeds, with failures at chance, and take all pairs of
  the class together (joint sign flips, step-down maxima), at the level of 5 %. *insufficient (n)*:
  no outcome could have told the row from any other; that takes n common seeds.
- **n ok/planned**: the number of finished runs, out of all runs that the suites planned.
  **finished runs**: the mean of the finished runs alone, each as it is. **collapsed**: how many of
  the finished students ended at chance level, and in brackets the upper end of Wilson's 95 %
  interval of that share.
- **dev**: the score on the development split, where all compared runs have one.
  **oracle**: the score of each run's best checkpoint on the test set, as many papers report it.
  **agreement**: the score of the checkpoint that agrees best with the teacher on images like those
  that it learnt from, which needs no labels. None of them is the headline.
- **full-precision** and **int8**, where students were quantised (objective `quantized`): the score
  of the student before its quantisers were added, and the score of its 8-bit integer form. **KiB**:
  their size as torch stores them. At 4 bits the student is a simulation, whose score is that of the
  row; **int4 KiB** is computed from packed weights, scales and biases, and is no file's size.
- **robustness**, where it was measured: the mean of (accuracy − chance) / (teacher's accuracy −
  chance) over random draws from ranges that one rule gives, cut to [0, 1], with failed runs at
  0 and missing runs left out, its 95 % t-interval, and the number of draws in brackets. It is the
  area under the method's performance profile, and of the method together with its ranges, which lie
  around what was published. `docs/robustness.md` has the ranges, and the seeds of the draws.
- **work**: the floating-point operations, as written, of the method's own phases, without
  evaluation; it is of no machine. A row has it only if all its finished runs do. **teacher
  queries**: the number of images sent forward through the teacher plus the number of images sent
  back.
- **programs**: the code that made a run is known by its fingerprint. *made by 2 programs* marks a
  row whose runs were not all made by the same code.
"""

OTHERS = (
    "**Not data-free**: these methods saw more than the teacher; ranks are within an access class."
)
VARIANTS = "**Ablations and variants**: other settings of the same methods; they have no rank."
