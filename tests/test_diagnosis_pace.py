"""What loops unlike the recorded ones brought out: who moves wrongly is named, and what is held still is not dead."""

import pytest

from equipoise.diagnosis import History, Severity, diagnose
from equipoise.diagnosis.pace import CALMER, CRAWLS, FIVE, LAGS, LEAPING, QUICKER, RUSHES, SLOWER
from equipoise.diagnosis.recordings import shipped
from equipoise.signals import SIGNALS
from test_diagnosis_rules import HEALTHY, history, names

BAD = {"energy": 0.5, "diversity": 0.95}
BATCH = 10  # of `history`: looks are 200 updates apart then


def found(signals, **facts):
    return {one.name: one for one in diagnose(history({**HEALTHY, **signals}, **facts)).findings}


# --- who moves wrongly


@pytest.mark.parametrize(("size", "leaps"), [(0.6, True), (0.4, False)])
def test_losses_that_leap_about_name_the_rates_and_not_a_weak_discriminator(size, leaps):
    """Both rates ten times too high: D's loss is above its ideal in the mean, and to raise D's rate makes it worse."""
    told = found({**BAD, "loss_D": 1.2, "swing_size": size, "swing": 0.0, "step_D": 0.008, "step_G": 0.01})
    blind = told["discriminator-blind"]
    assert (blind.cause == LEAPING and blind.advice[0] == CALMER) == leaps
    assert leaps or "raise D's learning rate" in blind.advice[0]


def test_a_slope_that_nothing_limits_is_a_better_reason_than_leaps():
    told = found({**BAD, "loss_D": 0.05, "swing_size": 0.9, "swing": 0.0, "slope_fake": 8.0})
    ahead = told["discriminator-overpowers"]
    assert "nothing limits D's slope: its gradient penalty" in ahead.cause and "gradient penalty" in ahead.advice[0]


def test_a_generator_that_is_too_fast_is_slowed_before_d_is_hurried():
    told = found({**BAD, "loss_D": 1.0, "step_D": 0.003, "step_G": 0.02})["discriminator-blind"]
    assert told.cause == RUSHES and told.advice[0] == SLOWER
    late = found({**BAD, "loss_D": 1.0, "step_D": 0.001, "step_G": 0.006})["discriminator-blind"]
    assert late.cause == LAGS and late.advice[0] == QUICKER.format(6)
    assert sum("learning rate" in one for one in late.advice) == 1  # not twice at a time, of one that is far too low


def test_a_generator_that_was_too_fast_is_named_though_it_has_slowed_down():
    """Bursts, G's rate ten times too high: at the end its samples are few, and its steps twice D's."""
    slowed = {"step_D": 0.009, "step_G": [0.03] * 16 + [0.018] * 4}
    assert found({**BAD, "loss_D": 0.8, **slowed})["not-converging"].cause == RUSHES
    assert found({**BAD, "loss_D": 0.8, **slowed, "step_G": 0.018})["not-converging"].cause == ""


def test_where_d_has_won_the_first_steps_tell_that_g_was_too_fast():
    """A rate thirty times too high: G's units die at once, and its last steps are the smallest of all."""
    dead = {**BAD, "loss_D": 0.001, "win_rate": 1.0, "step_D": 0.005, "step_G": [0.2] * 3 + [1e-5] * 17}
    told = found({**dead, "gradient_G": [0.2] * 3 + [1e-4] * 17})
    assert told["discriminator-overpowers"].cause == RUSHES and told["discriminator-overpowers"].advice[0] == SLOWER
    assert all(CRAWLS not in one.cause for one in told.values())
    alive = found({**dead, "gradient_G": 0.2, "step_G": 1e-5})["discriminator-overpowers"]
    assert alive.cause == CRAWLS


def test_what_to_do_comes_before_a_known_recipe():
    told = found({**BAD, "loss_D": 0.75, "swing_size": 0.9, "swing": 0.0})["not-converging"]
    assert told.advice[0] == CALMER and found({**BAD, "loss_D": 0.75})["not-converging"].advice[0].startswith("compare")


@pytest.mark.parametrize(
    ("changes", "facts", "cause"),
    [
        ({"tempo": 0.2}, {}, "G moves 5 times for each move of D"),
        ({"tempo": 0.5}, {}, "G moves 2 times for each move of D"),
        ({"tempo": 0.6}, {}, "D is too small, or held back too strongly"),
        ({"tempo": 0.2, "step_D": 0.001}, {}, LAGS),
        ({"tempo": 1.0}, {"loss": "wasserstein"}, "D moves 1 times for each move of G, and this loss needs a D near"),
        ({"tempo": 5.0}, {"loss": "wasserstein"}, "D is too small, or held back too strongly"),
    ],
)
def test_a_generator_that_moves_too_often_is_why_a_discriminator_is_blind(changes, facts, cause):
    blind = found({**BAD, "loss_D": 1.0, **changes}, **facts)["discriminator-blind"]
    assert blind.cause.startswith(cause)
    assert (blind.advice[0] == FIVE) == (facts != {} and changes["tempo"] == 1.0)
    assert ("D.steps=1)" in blind.advice[0]) == cause.startswith("G moves")


@pytest.mark.parametrize(
    ("changes", "facts", "cause"),
    [({"tempo": 10.0}, {}, "D moves 10 times for each move of G"), ({"tempo": 1.5}, {}, ""),
     ({"tempo": 0.2}, {}, ""), ({"tempo": 5.0}, {"loss": "wasserstein"}, ""),
     ({"tempo": 10.0, "slope_fake": 8.0}, {}, "nothing limits D's slope: its gradient penalty is missing or too weak")],
)  # fmt: skip
def test_a_discriminator_that_moves_too_often_is_why_it_is_ahead(changes, facts, cause):
    """Of a G that has several moves to one of a D that is ahead all the same, the number is a remedy and no cause."""
    ahead = found({**BAD, "loss_D": 0.3, "win_rate": 0.99, **changes}, **facts)["discriminator-overpowers"]
    assert ahead.cause == cause
    assert ahead.advice[0].startswith("give D fewer steps for each of G (D.steps), one") == cause.startswith("D moves")


def test_several_moves_are_counted_before_steps_are_compared():
    """Five steps of D, each a quarter of G's: D goes farther than G between two of G's."""
    steps = {**BAD, "loss_D": 1.0, "step_G": 0.02, "step_D": 0.005}
    one, five = (found({**steps, "tempo": tempo})["discriminator-blind"] for tempo in (1.0, 5.0))
    assert one.cause == RUSHES and five.cause != RUSHES
    small = {**BAD, "loss_D": 1.0, "step_G": 0.007, "step_D": 0.0018}
    one, five = (found({**small, "tempo": tempo})["discriminator-blind"] for tempo in (1.0, 5.0))
    assert one.cause == LAGS and five.cause != LAGS


def unseen(signals, **facts):
    """What is found where nothing but this is told."""
    return {one.name: one for one in diagnose(history({**UNSEEN, **signals}, **facts)).findings}


UNSEEN = {"loss_D": 0.99, "win_rate": 0.55, "step_G": 0.006, "step_D": 0.006, "pull": 0.03, "tempo": 1.0}


@pytest.mark.parametrize(
    ("changes", "severity", "cause"),
    [
        ({"step_D": 0.00015, "heading_D": 0.9}, Severity.WARNING, LAGS),
        ({"step_D": 0.00015}, Severity.NOTE, LAGS),
        ({"step_D": 0.00015, "heading_D": 0.1}, None, ""),  # as in fine-tuning
        ({"step_D": 0.00015, "heading_D": 0.9, "loss_D": 0.6}, None, ""),
        ({"step_D": 0.00015, "heading_D": 0.9, "energy": (0.5, 0.01), "diversity": 0.97}, None, ""),
        ({"step_D": 0.00015, "step_G": 0.03, "heading_D": 0.1}, None, ""),
        ({"heading_D": 0.9}, None, ""),
        ({"tempo": 0.2, "heading_D": 0.9}, Severity.WARNING, "G moves 5 times for each move of D"),
        ({"tempo": 0.5, "heading_D": 0.2}, Severity.NOTE, "G moves 2 times for each move of D"),
        ({"tempo": 0.2, "heading_D": 0.9, "loss_D": 0.6}, None, ""),
    ],
)
def test_without_a_look_at_samples_a_discriminator_that_cannot_keep_up_is_told(changes, severity, cause):
    """Two Gaussians' rings, digits with labels and bursts: a fiftieth of D's rate, five moves of G to one of D."""
    told = unseen(changes)
    assert ("discriminator-blind" in told) == (severity is not None)
    if severity is not None:
        assert (told["discriminator-blind"].severity, told["discriminator-blind"].cause) == (severity, cause)
    assert "discriminator-blind" not in unseen(changes, anchored=True)
    assert "discriminator-blind" not in unseen(changes, batch=300, total_kimg=None)  # 133 updates: any D guesses


def test_where_no_loss_is_told_the_win_rate_says_that_a_discriminator_guesses():
    slow = {name: value for name, value in UNSEEN.items() if name != "loss_D"} | {"step_D": 0.0001, "heading_D": 0.9}
    assert "discriminator-blind" in names(diagnose(history(slow)))
    assert "discriminator-blind" not in names(diagnose(history({**slow, "win_rate": 0.7})))


def test_of_the_recorded_runs_without_what_saw_the_samples_no_healthy_one_is_said_to_be_blind():
    blind = {True: 0, False: 0}
    for one in shipped():
        told = {name: value for name, value in one.history().signals.items() if name in UNSEEN or name == "loss_G"}
        blind[one.healthy] += "discriminator-blind" in names(diagnose(History(told, one.history().facts)))
    assert blind == {True: 0, False: 5} and "tempo" in SIGNALS


# --- what is held still is not dead


@pytest.mark.parametrize(
    ("others", "dead"),
    [({}, True), ({"step_G": 0.01}, False), ({"win_rate": [0.5 + n % 3 / 50 for n in range(20)]}, False),
     ({"win_rate": 0.5}, True), ({"pull": [1e-3 * (1 + n % 3 / 9) for n in range(20)]}, False)],
)  # fmt: skip
def test_a_loss_that_a_strong_penalty_holds_is_no_dead_run(others, dead):
    """R1 of 100 on two moons: D's loss was 1 to four digits, and the samples came near the data."""
    held = History(history({"x": 1.0, **others}).signals, {"loss": "non-saturating"})
    held.signals["loss_D"] = [(at, 1.0 + 1e-5 * (at % 4)) for at, _ in held.signals.pop("x")]
    assert ("dead-run" in names(diagnose(held))) == dead


@pytest.mark.parametrize(("loss", "sure"), [(0.7, True), (0.98, False)])
def test_logits_that_lie_on_one_side_of_zero_are_not_sure_of_training_data(loss, sure):
    told = diagnose(history({"loss_D": loss, "sign_real": 1.0, "win_rate": 0.6}))
    assert ("discriminator-memorises" in names(told)) == sure


# --- samples


def test_a_generator_that_never_follows_its_latents_is_asked_for_them():
    rises = [0.0003 * (1 + n / 19) for n in range(20)]  # a third more is no spreading
    told = found({**BAD, "diversity": rises, "energy": 0.9}, batch=BATCH)["collapse"]
    assert told.severity == Severity.ALARM and "samples never differed" in told.cause and "latents" in told.advice[0]
    lost = found({**BAD, "diversity": [0.9] * 8 + [0.0003] * 12}, batch=BATCH)["collapse"]
    assert "never differed" not in lost.cause and "go back" in lost.advice[0]


def test_units_that_died_of_too_large_steps_are_not_put_down_to_the_latents():
    """Both rates twenty times too high: samples never differed, and no look at the latents helps."""
    same = {**BAD, "diversity": 0.0003, "energy": 0.9}
    leaps = found({**same, "swing_size": 0.9, "swing": 0.0}, batch=BATCH)["collapse"]
    rushes = found({**same, "step_G": 0.05}, batch=BATCH)["collapse"]
    assert leaps.cause == LEAPING and leaps.advice[0] == CALMER
    assert rushes.cause == RUSHES and rushes.advice[0] == SLOWER


def test_no_rate_is_said_to_wake_a_generator_whose_samples_never_differed():
    dead = {**BAD, "diversity": 0.0, "loss_D": 0.3, "win_rate": 1.0, "step_G": 4e-5, "gradient_G": 0.5}
    told = found(dead, batch=BATCH)
    assert "latents" in told["collapse"].cause and all(CRAWLS not in one.cause for one in told.values())
    assert found({**dead, "diversity": 0.9}, batch=BATCH)["discriminator-overpowers"].cause == CRAWLS


def test_the_diversity_of_an_untrained_generator_is_nothing_to_go_back_to():
    first = {**BAD, "diversity": [0.85] + [0.24] * 19}  # of the first 200 updates, if they are counted
    counted, uncounted = found(first, batch=BATCH)["collapse"], found(first)["collapse"]
    assert "start anew" in counted.advice[0] and len(counted.evidence) == 1
    later = found({**BAD, "diversity": [0.85] * 4 + [0.24] * 16}, batch=BATCH)["collapse"]
    assert all("go back" in one.advice[0] and len(one.evidence) == 2 for one in (uncounted, later))


@pytest.mark.parametrize(("batch", "warned"), [(BATCH + 1, False), (None, True)])
def test_samples_that_spread_need_not_be_as_diverse_as_those_of_an_untrained_generator(batch, warned):
    spreads = history({**HEALTHY, "diversity": [0.85] + [0.1 + 0.025 * n for n in range(19)]}, batch=batch)
    assert ("collapse" in names(diagnose(spreads), Severity.WARNING)) == warned


def test_memory_that_sets_in_late_is_noticed_where_its_error_is_known():
    """Of 40 shapes D knew more and more, and the median of a third of the looks was as low as ever."""
    grows = [0.2] * 17 + [0.72, 0.8, 0.9]
    known = found({"memory": grows, "memory_noise": 0.08})["discriminator-memorises"]
    assert known.severity == Severity.NOTE and "by heart" in known.summary
    assert "discriminator-memorises" not in found({"memory": grows, "memory_noise": 0.3})
    assert "discriminator-memorises" not in found({"memory": grows})


# --- gradients and the anchor


@pytest.mark.parametrize(("facts", "explodes"), [({"batch": 30}, False), ({}, True)])  # 30: 200 updates by three looks
def test_what_the_first_updates_pull_is_no_measure_of_an_explosion(facts, explodes):
    """An untrained D pulls at nothing: ten times that is a D that has learnt."""
    pulls = {**BAD, "pull": [0.01] * 3 + [0.5] * 17, "gradient_G": 0.1}
    assert ("gradient-explodes" in found(pulls, **facts)) == explodes
    later = {**BAD, "pull": [0.01] * 3 + [0.5] * 9 + [20.0] * 8}
    assert "gradient-explodes" in found(later, **facts)


@pytest.mark.parametrize(
    ("share", "reconstruction", "joined", "noted"),
    [(0.65, 1.04, 6, True), (0.35, 1.04, 6, False), (0.65, 0.9, 6, False), (0.65, 1.04, 15, False)],
)
def test_an_adversarial_loss_that_outweighs_a_reconstruction_which_gets_no_better_is_noted(
    share, reconstruction, joined, noted
):
    told = history({"reconstruction": (1.0, reconstruction), "adversarial_share": share}, anchored=True)
    told.signals["adversarial_share"] = told.signals["adversarial_share"][joined:]
    verdict = diagnose(told)
    assert ("anchor-lost" in names(verdict)) == noted and verdict.severity <= Severity.NOTE
