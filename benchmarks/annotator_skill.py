"""Is a careless annotator found within 100 answers each, and does weighing him down make decisions righter?

    python -m benchmarks.annotator_skill [--runs N] [--only finding|peers|decisions]

Five made-up annotators (`made_up_annotators.py`): one errs on 20 % of all topics, the others on 3 %. Of the share
`honeypots` of all tasks the right answer is known, of `overlap` of the questions two answers are wanted from the start.
Found: the careless one is called careless; false alarms: the share of the others who are. Peers get the same answers,
and CROWDLAB (cleanlab) the truths of honeypots as one more annotator; scores are compared at the threshold above which
5 % of the careful ones are, chosen in hindsight for each. Our params were chosen on other seeds of the same world.
"""

import argparse
import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from benchmarks.made_up_annotators import HELD_OUT, MACHINES, PARAMS, Machine, Setting, Work, work
from cleanlab.multiannotator import get_label_quality_multiannotator

from facereview.quality.skill import Skill, skills_of

Floats = npt.NDArray[np.float64]
NAMES = tuple(f"server/{place}" for place in range(1, 6))


def skills(done: Work, *, machine_limit: float = PARAMS.machine_limit) -> list[Skill]:
    return skills_of(done.topics, replace(PARAMS, machine_limit=machine_limit))


def finding(runs: int) -> None:
    print("| asked again | machine | honeypots | overlap | found | false alarms | runs without a false alarm |")
    print("|---|---|--:|--:|--:|--:|--:|")
    settings = [
        Setting(rounds=rounds, machine=machine, share=share, overlap=overlap)
        for rounds, machines in ((3, MACHINES), (1, MACHINES[:1]))
        for machine in machines
        for share in (0.05, 0.10, 0.15)
        for overlap in (0.10, 0.20)
    ]
    for setting in settings:
        flags = np.array(
            [
                [one.is_careless for one in skills(work(setting, PARAMS, seed))]
                for seed in range(HELD_OUT, HELD_OUT + runs)
            ]
        )
        again = "yes" if setting.rounds > 1 else "no"
        print(
            f"| {again} | {setting.machine} | {setting.share:.0%} | {setting.overlap:.0%} | "
            f"{flags[:, -1].mean():.1%} | {flags[:, :-1].mean():.1%} | {1 - flags[:, :-1].any(axis=1).mean():.1%} |",
            flush=True,
        )


def peers(runs: int) -> None:
    print("| asked again | machine | method | found at 5 % false alarms | score of the careless | of the others |")
    print("|---|---|---|--:|--:|--:|")
    cases: tuple[tuple[int, Machine], ...] = (*((3, machine) for machine in MACHINES), (1, "calibrated"))
    for rounds, machine in cases:
        found = [
            work(Setting(rounds=rounds, machine=machine), PARAMS, seed) for seed in range(HELD_OUT, HELD_OUT + runs)
        ]
        scores = {
            "ours": [rates(skills(done)) for done in found],
            "ours, without the machine's chances": [rates(skills(done, machine_limit=0.5)) for done in found],
            "CROWDLAB": [crowdlab(done, knows_honeypots=True) for done in found],
            "CROWDLAB without honeypots": [crowdlab(done, knows_honeypots=False) for done in found],
            "honeypots alone": [honeypots_alone(skills(done)) for done in found],
        }
        for method, rows in scores.items():
            table = np.array(rows)
            limit = np.quantile(table[:, :-1], 0.95)
            print(
                f"| {'yes' if rounds > 1 else 'no'} | {machine} | {method} | {(table[:, -1] > limit).mean():.0%} | "
                f"{table[:, -1].mean():.3f} | {table[:, :-1].mean():.3f} |",
                flush=True,
            )


def decisions(runs: int) -> None:
    print("| machine | answers weigh | wrong of 1,000 decisions | answers a decision | decisions of 500 answers |")
    print("|---|---|--:|--:|--:|")
    for machine in MACHINES:
        for is_weighed in (False, True):
            setting = Setting(machine=machine, is_weighed=is_weighed)
            found = [work(setting, PARAMS, seed) for seed in range(HELD_OUT, HELD_OUT + runs)]
            settled = sum(done.settled for done in found)
            wrong = 1 - sum(done.right for done in found) / settled
            print(
                f"| {machine} | {'by skill' if is_weighed else 'alike'} | {1000 * wrong:.1f} | "
                f"{sum(done.answers for done in found) / settled:.2f} | {settled / runs:.0f} |",
                flush=True,
            )


def rates(found: list[Skill]) -> Floats:
    return np.array([skill.error_rate for skill in found])


def honeypots_alone(found: list[Skill]) -> Floats:
    """Posterior means with the same prior."""
    wrong = np.array([skill.honeypots_wrong for skill in found]) + PARAMS.prior_error * PARAMS.prior_weight
    score: Floats = wrong / (np.array([skill.honeypots for skill in found]) + PARAMS.prior_weight)
    return score


def crowdlab(done: Work, *, knows_honeypots: bool) -> Floats:
    """1 - CROWDLAB's quality of each annotator (Goh et al. 2022, arXiv 2210.06812)."""
    labels = np.full((len(done.topics), len(NAMES) + int(knows_honeypots)), np.nan)
    chances = np.zeros((len(done.topics), 2))
    for row, topic in enumerate(done.topics):
        chances[row, 1] = dict(topic.chances)["same"]
        for saying in topic.sayings:
            labels[row, NAMES.index(saying.annotator)] = saying.word == "same"
        if knows_honeypots and topic.right is not None:
            labels[row, -1] = topic.right == "same"
    chances[:, 0] = 1 - chances[:, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_label_quality_multiannotator(labels, chances, return_detailed_quality=False, verbose=False)
    score: Floats = 1 - found["annotator_stats"].loc[range(len(NAMES)), "annotator_quality"].to_numpy(dtype=np.float64)
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", choices=["finding", "peers", "decisions"])
    options = parser.parse_args()
    for name, table in (("finding", finding), ("peers", peers), ("decisions", decisions)):
        if options.only in (None, name):
            table(options.runs if name == "finding" else max(1, options.runs // 2))
            print()


if __name__ == "__main__":
    main()
