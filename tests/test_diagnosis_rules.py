"""Each rule fires on the signature of its failure and is silent on a healthy run."""

import json
import random
import statistics
import sys

import pytest

from equipoise.diagnosis import History, Severity, Verdict, diagnose
from equipoise.registry import entries

LOOKS = 20

# Signatures: what small runs of each kind showed between a fifth and the end of training.
HEALTHY = {
    "loss_D": 0.92, "loss_G": 1.1, "win_rate": 0.62, "gap": 0.6, "sign_real": 0.25, "memory": 0.2, "step_D": 0.008,
    "step_G": 0.01, "slope_fake": 0.5, "slope_real": 0.5, "pull": 0.03, "gradient_G": 0.1, "gradient_D": 0.1,
    "energy": (0.5, 0.02), "diversity": (0.9, 0.97), "coverage": (0.3, 0.9), "nearest": 1.02, "swing": 0.1,
    "swing_size": 0.05, "skipped": 0.0, "churn": (0.5, 0.1), "augmentation": 0.1, "leak": 0.02,
}  # fmt: skip
SICK = {
    "discriminator-overpowers": {"loss_D": (0.9, 0.05), "win_rate": 0.99, "slope_fake": 8.0, "energy": 0.5},
    "discriminator-blind": {"loss_D": 1.0, "win_rate": 0.52, "step_D": 0.001, "slope_fake": 0.1, "energy": 0.3},
    "discriminator-memorises": {"loss_D": (0.9, 0.6), "memory": (0.3, 0.9), "energy": (0.03, 0.09)},
    "augmentation-leaks": {"leak": 0.5, "augmentation": 0.9},
    "oscillation": {"swing": 0.8, "swing_size": 0.5, "lag": 0.25, "swing_kimg": 0.6},
    "gradient-vanishes": {"pull": [0.03] * 5 + [1e-5] * 15, "loss_D": (0.9, 0.02), "energy": 0.4},
    "gradient-explodes": {"loss_D": 0.7, "gradient_G": (0.1, 40.0), "energy": 0.6},
    "dead-run": {"step_G": 0.0},
    "collapse": {"loss_D": 0.75, "diversity": (0.9, 0.1), "energy": (0.1, 0.7)},
    "not-converging": {"loss_D": 0.75, "energy": 0.4},
    "nothing-more-to-gain": {
        "energy": [0.5, 0.3, 0.1, 0.05, 0.03, 0.02] + [0.025] * 14,
        "coverage": [0.3, 0.5, 0.7, 0.8, 0.88, 0.9] + [0.89] * 14,
    },
}


def history(signals, **facts):
    """Over 20 looks to 40 kimg: a number stays, a pair is gone through evenly, a list is taken as it is."""
    made = History(facts={"total_kimg": 40.0, "loss": "non-saturating"} | facts)
    for look in range(LOOKS):
        values = {}
        for name, value in signals.items():
            if isinstance(value, tuple):
                value = value[0] + (value[1] - value[0]) * look / (LOOKS - 1)
            values[name] = value[look] if isinstance(value, list) else value
        if isinstance(signals.get("loss_D"), float):
            values["loss_D"] += 0.003 * (-1) ** look  # a loss that is read is never twice the same
        made.add(2.0 * (look + 1), values)
    return made


def names(verdict: Verdict, least=Severity.NOTE):
    return {one.name for one in verdict.findings if one.severity >= least}


@pytest.mark.parametrize(("changes", "share", "found"), [
    ({}, 1.0, True), ({"energy": 0.5}, 1.0, False), ({"energy": 0.5, "augmentation": 0.9}, 1.0, True), ({}, 0.2, False)
])  # fmt: skip
def test_a_leak_is_believed_of_good_samples_or_where_the_strength_explains_it(changes, share, found):
    told = names(diagnose(history({**HEALTHY, "leak": 0.5, **changes}, total_kimg=40.0 / share)), Severity.WARNING)
    assert ("augmentation-leaks" in told) == found


def test_a_healthy_run_is_called_healthy_and_nothing_else():
    verdict = diagnose(history(HEALTHY))
    assert [one.name for one in verdict.findings] == ["healthy"] and verdict.severity == Severity.GOOD
    assert verdict.untold == ()


@pytest.mark.parametrize("name", SICK)
def test_each_rule_fires_on_its_signature(name):
    verdict = diagnose(history(HEALTHY | SICK[name]))
    assert name in names(verdict), verdict.text()
    assert "healthy" not in {one.name for one in verdict.findings} or name == "nothing-more-to-gain"
    found = next(one for one in verdict.findings if one.name == name)
    assert found.advice and found.evidence and all(one.source for one in found.evidence)


def test_every_rule_has_a_signature():
    known = {entry.name for entry in entries("finding")}
    assert known - {"healthy", "anchor-lost", "generator-crawls"} == set(SICK)


@pytest.mark.parametrize("name", SICK)
def test_signatures_are_told_apart(name):
    """What is found besides is no other failure of the same kind."""
    players = {"discriminator-overpowers", "discriminator-blind", "discriminator-memorises"}
    others = players - {name}
    if name == "gradient-vanishes":
        others -= {"discriminator-overpowers"}  # which is its cause
    assert not names(diagnose(history(HEALTHY | SICK[name]))) & others


@pytest.mark.parametrize("value", [1.0, 0.5, 0.03])
def test_logits_alone_make_neither_a_healthy_run_nor_a_warning(value):
    """A blind discriminator sits at the ideal loss, and one far ahead may well teach."""
    told = {"loss_D": max(value, 0.12), "win_rate": 0.97 if value < 1 else 0.5, "sign_real": 0.3}
    verdict = diagnose(history(told))
    assert verdict.severity <= Severity.NOTE and "healthy" not in names(verdict, Severity.GOOD)
    assert any("whether the run is well at all" in text for text in verdict.untold)
    assert any("memorises or is merely ahead" in text for text in verdict.untold)


def test_a_saturated_discriminator_is_a_warning_even_from_logits_alone():
    assert names(diagnose(history({"loss_D": (0.5, 0.01)})), Severity.WARNING) == {"discriminator-overpowers"}


@pytest.mark.parametrize(
    ("value", "found"),
    [(0.3, set()), (0.2, {(Severity.NOTE, "below 0.25")}), (0.0, {(Severity.WARNING, "below 0.01")})],
)
def test_least_squares_fall_with_the_square_of_what_d_errs(value, found):
    told = diagnose(history({"loss_D": (value + 0.02, value)}, loss="least-squares")).findings
    assert {(one.severity, one.evidence[0].text().split(", ")[1].split(" (")[0]) for one in told} == found
    assert names(diagnose(history({"loss_D": (0.5, value)}))) == {"discriminator-overpowers"}


def test_what_is_graver_of_one_discriminator_is_told_besides_that_of_their_mean():
    verdict = diagnose(history({"loss_D": 0.35, "a/loss_D": (0.1, 0.0), "b/loss_D": (0.6, 0.7)}))
    assert [(one.player, one.severity) for one in verdict.findings] == [("a", Severity.WARNING), ("", Severity.NOTE)]
    alike = diagnose(history({"loss_D": 0.35, "a/loss_D": (0.3, 0.2), "b/loss_D": (0.4, 0.5)})).findings
    assert [(one.player, one.severity) for one in alike] == [("", Severity.NOTE)]


@pytest.mark.parametrize("name", ["discriminator-overpowers", "collapse", "gradient-explodes", "not-converging"])
def test_where_g_crawls_beside_d_no_finding_says_to_slow_it_further(name):
    """As in a loop with a three-hundredth of a fit learning rate: D is sure, its slope grows, G stays where it is."""
    crawl = {"step_G": 2e-5, "step_D": 0.001}
    for signs in (SICK[name], {**SICK["discriminator-overpowers"], **SICK["gradient-explodes"], "diversity": 0.1}):
        verdict = diagnose(history(HEALTHY | signs | crawl))
        found = {one.name: one for one in verdict.findings if one.severity >= Severity.WARNING}
        told = found.get(name)
        assert told is None or ("raise G's" in " ".join(told.advice) and told.cause.startswith("G moves too little"))
        said = " ".join(text for one in found.values() for text in one.advice)
        assert "lower G's" not in said and "lower the learning" not in said and "lower both" not in said
    assert name in names(diagnose(history(HEALTHY | SICK[name] | crawl)))
    refused = diagnose(history(HEALTHY | SICK[name] | crawl | {"skipped": 0.5}))
    assert "raise G's" not in refused.text()  # updates that are not done are no small steps


@pytest.mark.parametrize("name", ["discriminator-overpowers", "collapse", "gradient-explodes", "not-converging"])
def test_where_d_lags_behind_g_no_finding_says_to_slow_it_further(name):
    """As in a loop with a hundredth of a fit rate of D: G follows a slope that no longer changes, out of the data."""
    lag = {"step_D": 1e-4, "step_G": 0.004} | ({"loss_D": 0.45} if name == "discriminator-overpowers" else {})
    found = {one.name: one for one in diagnose(history(HEALTHY | SICK[name] | lag)).findings}
    assert found[name].cause.startswith("D moves too little beside G")
    assert "raise D's" in " ".join(found[name].advice)
    said = " ".join(text for one in found.values() for text in one.advice)
    assert "lower D's" not in said and "lower the learning" not in said and "lower both" not in said
    won = diagnose(history(HEALTHY | SICK[name] | lag | {"loss_D": (0.2, 0.0)}))
    assert "D moves too little" not in won.text()  # a loss that is 0 leaves it nothing to move by


@pytest.mark.parametrize(("coverage", "recall", "called"), [(0.04, 0.0, False), (0.2, 0.9, True), (0.8, 0.1, True)])
def test_a_handful_of_samples_spread_over_the_data_is_not_called_healthy(coverage, recall, called):
    """As of a G that makes five points of five classes: near the data by energy, and as diverse."""
    spread = HEALTHY | {"energy": (0.3, 0.045), "diversity": 0.91, "coverage": coverage, "recall": recall}
    verdict = diagnose(history(spread))
    assert ("healthy" in names(verdict, Severity.GOOD)) == called and verdict.severity <= Severity.NOTE
    assert ("collapse" in names(verdict)) != called
    assert "collapse" not in names(diagnose(history(spread, total_kimg=60.0)))  # which may come yet


@pytest.mark.parametrize("pulls", [True, False])
def test_a_generator_whose_own_units_have_died_is_not_told_to_move_faster_nor_d_to_slow_down(pulls):
    """As a G at a hundred times its rate: its sigmoids are at their ends, its steps 0, and D finds that easy."""
    lost = {"gradient_G": [0.1] * 5 + [0.0] * 15, "step_G": [0.08] * 3 + [0.0] * 17, "win_rate": 1.0, "energy": 0.3}
    sick = HEALTHY | lost | ({} if pulls else {"pull": [0.03] * 5 + [0.0] * 15})
    found = {one.name: one for one in diagnose(history(sick)).findings}
    assert {"dead-run", "gradient-vanishes"} <= set(found)
    assert all("raise G's" not in text for one in found.values() for text in one.advice)
    assert ("saturated or dead" in found["gradient-vanishes"].cause) == pulls
    assert ("lower G's" in found["gradient-vanishes"].advice[0]) == pulls


def test_a_hinge_that_is_won_leaves_d_no_step_which_neither_kills_the_run_nor_makes_g_fast():
    sure = {"loss_D": (0.2, 0.0), "win_rate": 1.0, "energy": 1.0, "diversity": 0.1, "step_D": [0.005] * 4 + [0.0] * 16}
    for step, cause in ((5e-5, "G moves too little beside D"), (0.01, "")):
        found = {one.name: one for one in diagnose(history(HEALTHY | sure | {"step_G": step}, loss="hinge")).findings}
        assert "dead-run" not in found and found["collapse"].cause.partition(":")[0] == cause
    assert "dead-run" in names(diagnose(history(HEALTHY | {"step_D": [0.005] * 4 + [0.0] * 16})))


def test_a_discriminator_without_gradients_is_dead_though_weight_decay_moves_it():
    """As one of two whose logits are cut off from its weights, under AdamW: its steps are 1e-5 of them."""
    cut = {"mpd/step_D": 1e-5, "mpd/gradient_D": 0.0, "mpd/loss_D": 2.0, "msd/step_D": 0.004, "msd/gradient_D": 0.4}
    verdict = diagnose(history(HEALTHY | cut, anchored=True))
    (found,) = (one for one in verdict.findings if one.severity >= Severity.WARNING)
    assert (found.name, found.player) == ("dead-run", "mpd") and "no gradient of D has moved it" in found.summary
    logged = {"loss_D": 0.7, "gradient_D": 0.0}  # to two decimals, say
    assert "dead-run" not in names(diagnose(history(logged)))
    assert "dead-run" not in names(diagnose(history(HEALTHY | cut | {"mpd/loss_D": 0.0}, anchored=True)))  # it has won


def test_too_little_data_is_no_matter_of_learning_rates():
    sick = HEALTHY | {"loss_D": (0.8, 0.3), "win_rate": 0.98, "memory": 0.9, "energy": (0.03, 0.12)}
    verdict = diagnose(history(sick, count=100))
    (found,) = [one for one in verdict.findings if one.severity >= Severity.WARNING]
    assert found.name == "discriminator-memorises" and found.cause == "too little data: 100 samples"
    assert "learning rate does not cure" in " ".join(found.advice)
    (found,) = [one for one in diagnose(history(sick, count=90_000, duplicates=45_000)).findings if one.severity > 1]
    assert found.cause.startswith("many duplicates: 45,000 of 90,000")


@pytest.mark.parametrize(
    ("signals", "cause"),
    [
        ({"step_G": 0.001, "step_D": 0.01}, "G moves too little"),
        ({"step_D": 0.05}, "D's steps are large"),
        ({"step_D": [0.064] + [0.01] * 19}, "D's steps were large at first: its learning rate is too high"),
        ({"step_D": [0.03] + [0.01] * 19, "slope_fake": 9.0}, "nothing limits D's slope"),
        ({"slope_fake": 9.0}, "nothing limits D's slope"),
    ],
)
def test_why_a_discriminator_is_ahead(signals, cause):
    found = diagnose(history(HEALTHY | {"loss_D": 0.3, "energy": 0.3} | signals)).findings
    assert cause in next(one for one in found if one.name == "discriminator-overpowers").cause


def test_a_rate_too_high_is_to_be_lowered_even_where_samples_are_good():
    ahead = HEALTHY | {"loss_D": 0.3, "step_D": [0.064] + [0.01] * 19}
    found = next(one for one in diagnose(history(ahead)).findings if one.name == "discriminator-overpowers")
    assert found.severity == Severity.NOTE and "lower learning rate of D" in found.advice[1]
    found = next(one for one in diagnose(history(ahead | {"step_D": 0.01})).findings if one.name == found.name)
    assert len(found.advice) == 1


def test_a_generator_held_by_a_reconstruction_raises_no_alarm_for_a_discriminator_far_ahead():
    ahead = {"loss_D": 0.05, "win_rate": 1.0, "sign_real": 1.0}
    told = ahead | {"reconstruction": (1.0, 0.6), "adversarial_share": 0.3}
    assert diagnose(history(told, anchored=True)).severity == Severity.GOOD
    lost = told | {"reconstruction": (0.8, 1.6), "adversarial_share": 0.8}
    assert names(diagnose(history(lost, anchored=True)), Severity.WARNING) == {"anchor-lost"}
    died = told | {"adversarial_share": [0.3] * 5 + [0.001] * 15}
    assert names(diagnose(history(died, anchored=True)), Severity.WARNING) == {"gradient-vanishes"}


@pytest.mark.parametrize(
    ("changes", "anchored", "found"),
    [
        ({}, True, True),
        ({}, False, False),  # where nothing holds G the samples tell
        ({"heading_G": 0.3}, True, False),  # a small rate that is right: gradients differ from batch to batch
        ({"step_G": 0.01}, True, False),
        ({"step_G": (0.0001, 0.0015)}, True, False),  # a warm-up
        ({"step_G": [0.01] * 15 + [0.0001] * 5}, True, False),  # the end of a schedule
        ({"heading_G": [0.85] * 3 + [0.98] * 17}, True, False),  # not for long enough yet
        ({"heading_G": [0.98] * 9 + [0.85] + [0.98] * 10}, True, True),  # one batch that points elsewhere
    ],
)
def test_a_generator_crawls_where_its_steps_are_tiny_and_all_go_one_way(changes, anchored, found):
    told = {"reconstruction": (1.0, 0.8), "adversarial_share": 0.3, "step_G": 0.0004, "heading_G": 0.98}
    told |= changes
    assert diagnose(history(told, anchored=anchored, total_kimg=400.0)).severity == Severity.GOOD  # a run's beginning
    assert names(diagnose(history(told, anchored=anchored)), Severity.WARNING) == (
        {"generator-crawls"} if found else set()
    )


def test_signs_of_real_logits_are_a_note_and_none_where_logits_have_no_zero():
    told = {"loss_D": 0.7, "sign_real": 0.8}
    assert names(diagnose(history(told))) == {"discriminator-memorises"}
    assert diagnose(history(told)).severity == Severity.NOTE
    assert names(diagnose(history(told, signless=True))) == set()
    assert names(diagnose(history(told | {"memory": 0.1}))) == set()  # held-out data decide
    assert names(diagnose(history(told, total_kimg=4000.0))) == set()  # at the beginning any D is ahead
    assert names(diagnose(history(told | {"memory": 0.9}, total_kimg=4000.0))) == {"discriminator-memorises"}


def test_a_run_that_is_still_coming_nearer_is_left_alone():
    early = HEALTHY | {"loss_D": 1.0, "energy": (2.0, 0.2)}
    assert diagnose(history(early, total_kimg=400.0)).severity == Severity.GOOD
    assert names(diagnose(history(early, total_kimg=40.0)), Severity.WARNING) == {"discriminator-blind"}


def test_the_best_snapshot_is_named():
    found = diagnose(history(HEALTHY | SICK["nothing-more-to-gain"])).findings
    advice = " ".join(next(one for one in found if one.name == "nothing-more-to-gain").advice)
    assert "12 kimg" in advice or "10 kimg" in advice or "14 kimg" in advice
    assert "checkpoints/best" not in advice


@pytest.mark.parametrize("name", ["nothing-more-to-gain", "not-converging"])
def test_our_own_runs_have_kept_the_best_snapshot(name):
    signals = SICK["nothing-more-to-gain"] if name != "not-converging" else {"energy": [0.02] * 8 + [0.1] * (LOOKS - 8)}
    found = diagnose(history(HEALTHY | signals, source="equipoise")).findings
    assert "or `checkpoints/best`" in " ".join(next(one for one in found if one.name == name).advice)


def test_a_run_whose_coverage_still_rises_is_not_at_its_end():
    rising = HEALTHY | SICK["nothing-more-to-gain"] | {"coverage": (0.3, 0.9)}
    assert names(diagnose(history(rising)), Severity.GOOD) == {"healthy"}


def test_samples_off_the_data_late_in_a_run():
    noisy = HEALTHY | {"precision": 0.2}
    assert names(diagnose(history(noisy)), Severity.WARNING) == {"not-converging"}
    assert diagnose(history(noisy, total_kimg=80.0)).severity == Severity.GOOD  # half of the run is to come
    assert diagnose(history(noisy, count=50)).severity == Severity.GOOD  # balls round so few data say nothing


@pytest.mark.parametrize(
    ("signals", "facts", "severity"),
    [
        ({"memory": 0.6}, {}, Severity.NOTE),  # a gap that stays is common in good runs
        ({"memory": 0.6, "energy": (0.02, 0.1)}, {}, Severity.WARNING),
        ({"memory": 0.9}, {}, Severity.WARNING),
        ({"memory": 0.9}, {"total_kimg": 400.0}, Severity.NOTE),  # early
        ({"memory": 0.6, "nearest": 0.5}, {}, Severity.ALARM),
        ({"memory": [0.1] * 17 + [0.9] * 3}, {}, Severity.GOOD),  # noise
        ({"memory": 0.9, "memory_noise": 0.25}, {}, Severity.GOOD),  # of a handful of held-out samples
        ({"memory": 0.9, "memory_noise": 0.15}, {}, Severity.WARNING),
    ],
)
def test_how_much_memory_matters(signals, facts, severity):
    assert diagnose(history(HEALTHY | signals, **facts)).severity == severity


def test_frechet_distances_that_rise_again_end_a_run():
    rising = {"loss_D": 0.8, "frechet": [60.0, 50, 40, 30, 25, 22, 20, 20, 21] + [24.0 + n for n in range(11)]}
    (found,) = [one for one in diagnose(history(rising)).findings if one.severity >= Severity.WARNING]
    assert found.name == "not-converging" and "better before" in found.summary and "14 kimg" in found.advice[0]


def test_a_loss_that_no_longer_moves_is_dead():
    stuck = history({"loss_G": 1.0})
    for look in range(LOOKS):
        stuck.add(2.0 * (look + 1), {"loss_D": 1.0})
    assert names(diagnose(stuck)) == {"dead-run"}


def test_nothing_said_of_nothing():
    verdict = diagnose(History())
    assert verdict.findings == () and verdict.severity == Severity.GOOD and len(verdict.untold) == 1
    assert verdict.text().startswith("no sign of imbalance in what is told") and "anything: no finite" in verdict.text()


def test_updates_that_are_lost():
    verdict = diagnose(history(HEALTHY | {"skipped": 0.2}))
    (found,) = [one for one in verdict.findings if one.severity == Severity.ALARM]
    assert found.name == "gradient-explodes" and found.evidence[0].signal == "skipped"
    assert {"dead-run"} < names(diagnose(history(HEALTHY | {"skipped": 1.0})))


@pytest.mark.parametrize(
    "rest", [{}, {"a/nonfinite": [0.0] * 8 + [1.0] * 12, "a/loss_D": [0.9, 0.8] * 4 + [0.01] * 12}]
)
def test_once_values_are_not_finite_nothing_after_it_is_judged(rest):
    """Some of what is read later is finite, and says nothing of a run that is lost."""
    turns = {"loss_D": (0.9, 0.01), "diversity": (0.9, 0.1), "energy": (0.1, 2.0)}
    sick = {
        name: [before * (1 + 0.01 * (look % 2)) for look in range(8)] + [after] * 12
        for name, (before, after) in turns.items()
    }
    died = HEALTHY | sick | {"nonfinite": [0.0] * 8 + [0.1] + [0.9] * 11} | rest
    (found,) = diagnose(history(died)).findings
    assert found.name == "gradient-explodes" and found.summary.startswith("values are not finite any more")
    assert [one.signal for one in found.evidence] == ["nonfinite"] and found.evidence[0].since == 18.0
    assert found.advice[0].endswith("from before 18 kimg")


def test_what_was_grave_before_values_were_lost_is_told_and_a_share_of_lost_values_silences_nothing():
    lost = {"nonfinite": [0.0] * 19 + [0.9]}
    assert {"collapse", "gradient-explodes"} <= names(diagnose(history(HEALTHY | SICK["collapse"] | lost)))
    assert names(diagnose(history(HEALTHY | lost)), Severity.GOOD) == {"gradient-explodes"}
    assert "collapse" in names(diagnose(history(HEALTHY | SICK["collapse"] | {"nonfinite": 0.3})))


def test_a_verdict_is_plain_data():
    found = json.loads(json.dumps(diagnose(history(HEALTHY | SICK["collapse"])).as_dict(), allow_nan=False))
    assert found["findings"][0]["name"] == "collapse" and found["findings"][0]["severity"] == "alarm"


def test_gradients_that_grow_are_a_note_where_nothing_is_told_of_the_samples_and_nothing_where_these_are_good():
    grown = {"gradient_G": (0.1, 40.0)}
    assert [(f.name, f.severity) for f in diagnose(history(grown)).findings] == [("gradient-explodes", Severity.NOTE)]
    assert names(diagnose(history(HEALTHY | grown)), Severity.GOOD) == {"healthy"}


@pytest.mark.parametrize(("share", "worst"), [(0.95, Severity.WARNING), (0.6, Severity.NOTE)])
@pytest.mark.parametrize("more", [{}, {"energy": 0.02, "diversity": 0.9}])
def test_gradients_that_explode_are_warned_of_where_nothing_else_holds_g_any_more(share, worst, more):
    told = {"loss_D": 0.7, "gradient_G": (0.1, 40.0), "adversarial_share": share, "reconstruction": (1.0, 0.5), **more}
    found = {f.name: f.severity for f in diagnose(history(told, anchored=True)).findings}
    assert found.get("gradient-explodes", Severity.NOTE) == worst
    free = {f.name: f.severity for f in diagnose(history(told)).findings}
    assert free.get("gradient-explodes", Severity.NOTE) == Severity.NOTE  # a share of one, where nothing else is there


def test_a_player_that_never_moved_did_not_die():
    """As one of several discriminators whose learning rate is 0 by mistake: there is no earlier state to go back to."""
    of_one = {"mpd/step_D": 0.0, "msd/step_D": 0.004}
    (found,) = [one for one in diagnose(history(HEALTHY | of_one)).findings if one.name == "dead-run"]
    assert found.player == "mpd" and found.summary == "no step of D has moved it since the run began"
    assert "learning rate is 0" in found.advice[0] and not any("snapshot" in one for one in found.advice)
    for died in ({"step_D": [0.01] * 5 + [0.0] * 15}, {"step_D": 0.0, "skipped": 1.0}):
        (found,) = [one for one in diagnose(history(HEALTHY | died)).findings if one.name == "dead-run"]
        assert found.summary.startswith("nothing moves any more") and "snapshot" in found.advice[0]


def test_a_d_that_no_longer_errs_is_no_dead_run_where_another_loss_holds_g():
    """A hinge that is won is exactly 0, look after look; the reconstruction goes on. Else D has won, which is said."""
    held, free = (
        history({"reconstruction": (1.0, 0.7), "adversarial_share": 0.3}, anchored=one) for one in (True, False)
    )
    for one in (held, free):
        for look in range(LOOKS):
            one.add(2.0 * (look + 1), {"loss_D": 0.0})
    assert diagnose(held).severity == Severity.GOOD
    assert names(diagnose(free), Severity.WARNING) == {"discriminator-overpowers"}


def test_a_branch_that_is_cut_off_is_named_as_the_cause():
    for last, cut in ((0.0, True), (1e-4, False)):
        found = diagnose(
            history({"adversarial_share": [0.3] * (LOOKS // 2) + [last] * (LOOKS - LOOKS // 2)}, anchored=True)
        )
        (one,) = [one for one in found.findings if one.name == "gradient-vanishes"]
        assert ("no longer reaches G" in one.cause) == cut


@pytest.mark.parametrize(
    ("total", "looks", "alarm"), [(40.0, 3, False), (40.0, 12, True), (None, 8, False), (None, 12, True)]
)
def test_samples_that_have_not_spread_yet_are_no_collapse(total, looks, alarm):
    begun = History(facts={"total_kimg": total} if total else {})
    for look in range(looks):
        begun.add(float(look + 1), {"diversity": 0.1, "energy": 0.5})
    assert ("collapse" in names(diagnose(begun))) == alarm


@pytest.mark.parametrize(
    ("diversity", "found"),
    [
        ((0.05, 0.4), False),  # a generator that has just begun: its first samples are all alike
        ((0.3, 0.36), True),  # too little a rise
        (0.1, True),
        (0.0, True),
        ([0.6] * 6 + [0.1 + 0.03 * n for n in range(LOOKS - 6)], True),  # it had been more diverse before
    ],
)
def test_samples_that_spread_still_are_no_collapse(diversity, found):
    """Nor do they make a discriminator that is ahead a fault."""
    told = diagnose(history({"loss_D": 0.4, "diversity": diversity, "energy": (0.5, 0.02)}))
    assert names(told, Severity.WARNING) == ({"collapse", "discriminator-overpowers"} if found else set())
    short = History(facts={"total_kimg": 2.56})
    for look in range(4):  # ten updates of 64 between
        short.add(0.64 * (look + 1), {"diversity": history({"x": diversity}).values("x")[6 * look + 1]})
    assert ("collapse" in names(diagnose(short))) == found


def test_swings_are_no_more_than_a_note_where_another_loss_holds_g():
    for anchored, severity in ((True, Severity.NOTE), (False, Severity.WARNING)):
        found = diagnose(history({"swing": 0.8, "swing_size": 0.5}, anchored=anchored)).findings
        assert [(one.name, one.severity) for one in found] == [("oscillation", severity)]


def test_an_adversarial_loss_that_has_nearly_all_of_the_gradient_is_noted():
    for share, noted in ((0.97, True), (0.6, False)):
        found = diagnose(history({"adversarial_share": share, "reconstruction": (1.0, 0.5)}, anchored=True)).findings
        assert [(one.name, one.severity) for one in found] == [("anchor-lost", Severity.NOTE)] * noted


@pytest.mark.parametrize("pick", [min, max])
@pytest.mark.parametrize("looks", [1, 2, 3, 9])
def test_the_best_is_that_of_a_running_median_of_three(looks, pick):
    for seed in range(5):
        values = [random.Random(seed * 100 + look).random() for look in range(looks)]
        slow = [statistics.median(values[max(0, look - 1) : look + 2]) for look in range(looks)]
        at = slow.index(pick(slow))
        told = History({"energy": [(2.0 * look, value) for look, value in enumerate(values)]})
        assert told.best("energy", pick) == (2.0 * at, slow[at])


def test_a_look_late_in_a_long_run_costs_little_more_than_an_early_one():
    """All that was seen is gone through at every look, so that a call for each of it adds up to hours."""

    def calls(looks):
        long, made = History(facts={"total_kimg": 4.0 * looks, "loss": "non-saturating"}), []
        for look in range(looks):
            long.add(4.0 * (look + 1), {k: v[1] if isinstance(v, tuple) else v for k, v in HEALTHY.items()})
        sys.setprofile(lambda frame, event, argument: made.append(event) if event == "call" else None)
        try:
            diagnose(long)
        finally:
            sys.setprofile(None)
        return len(made)

    assert (calls(1000) - calls(100)) / 900 < 30  # a look; it was 56


@pytest.mark.parametrize(("total", "found"), [(250.0, set()), (199.0, {"collapse"}), (None, {"collapse"})])
def test_what_is_lost_in_the_first_fifth_may_come_back(total, found):
    """A healthy run covers .9 of the data, then a quarter, then .95."""
    told = history({"diversity": 0.95, "energy": 0.03, "coverage": [0.3, 0.9, *[0.25] * 18]}, total_kimg=total)
    assert names(diagnose(told), Severity.WARNING) == found


@pytest.mark.parametrize(("total", "found"), [(450.0, set()), (359.0, {"not-converging"}), (None, {"not-converging"})])
def test_a_distance_that_grows_in_the_first_tenth_may_fall_again(total, found):
    told = history({"diversity": 0.95, "energy": [0.3, *[0.5] * 19]}, total_kimg=total)
    assert names(diagnose(told), Severity.WARNING) == found


@pytest.mark.parametrize(
    ("facts", "updates"),
    [({"batch": 64}, 625), ({"unit": "step"}, 40), ({"unit": "epoch", "batch": 64}, None), ({}, None)],
)
def test_updates_are_told_where_they_or_the_batch_are_known(facts, updates):
    assert history({"energy": 0.5}, **facts).updates == updates


@pytest.mark.parametrize(("batch", "total", "alarm"), [
    (181, None, False), (180, None, True),  # a tenth ago it had had 199 updates; 200
    (181, 80.0, False), (181, 40.0, True),  # half of its length is over; all of it
])  # fmt: skip
def test_nothing_is_made_of_bad_samples_in_the_first_200_updates(batch, total, alarm):
    told = {"loss_D": 0.05, "energy": 0.5, "diversity": 0.2, "memory": 0.0}
    found = names(diagnose(history(told, batch=batch, total_kimg=total)), Severity.WARNING)
    assert found == ({"collapse", "discriminator-overpowers"} if alarm else set())


@pytest.mark.parametrize(("batch", "alarm"), [(201, False), (200, True)])
def test_a_saturated_loss_alone_warns_from_the_200th_update_on(batch, alarm):
    found = diagnose(history({"loss_D": 0.05}, batch=batch, total_kimg=None))
    assert names(found, Severity.WARNING) == ({"discriminator-overpowers"} if alarm else set())


@pytest.mark.parametrize(
    ("name", "good", "bad", "found"),
    [("coverage", 0.9, 0.3, "collapse"), ("energy", 0.02, 0.3, "not-converging"), ("diversity", 0.95, 0.5, "collapse")],
)
@pytest.mark.parametrize(("looks", "total", "warned"), [
    (3, None, False), (6, None, True),  # of 20: at a tenth before, one look was bad; or four
    (3, 80.0, False), (3, 40.0, True),  # half of its length is over; all of it
])  # fmt: skip
def test_samples_that_are_worse_for_a_moment_are_no_fault(name, good, bad, found, looks, total, warned):
    told = HEALTHY | {"loss_D": 0.75, name: [good] * (LOOKS - looks) + [bad] * looks}
    assert (found in names(diagnose(history(told, total_kimg=total)), Severity.WARNING)) == warned


def test_samples_that_are_all_alike_are_no_copies():
    """The first samples are grey and lie near a grey training image."""
    told = HEALTHY | {"nearest": 0.5}
    assert "discriminator-memorises" in names(diagnose(history(told)), Severity.WARNING)
    assert "discriminator-memorises" not in names(diagnose(history(told | {"diversity": 0.3})))
