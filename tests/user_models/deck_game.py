"""A deck game: gamble that the next card of a deck beats the computer's card, or decline.

Task and model as a lab would write them in a file of its own, after Michely et al. 2022 (Commun Biol,
10.1038/s42003-022-03690-5). Choices are 1 (gamble) and 0 (decline); after a decline no outcome is shown.

    fitrl fit cards.csv --model deck_game.py --column session=day --out results/cards
"""

import numpy as np

from fitrl.language import Model, State, bernoulli_logit, filled, latent, positive, real, unit, where
from fitrl.tasks import Column, Recorded, Task, World


def outcomes(deck, number, rng):
    """Draw the own card of each trial and compare it with the computer's: 1 won, 0 drew, -1 lost."""
    # u to a power below 1 makes high cards frequent, to one above 1 low cards.
    power = np.array([2.0, 1.0, 0.5])[deck]
    own = 1 + np.floor(9 * rng.random(deck.shape) ** power)
    return np.sign(own - number)


class Cards(World):
    """Computer's cards are uniform on 1 to 9; deck 1 holds mostly low cards, deck 3 mostly high ones."""

    def __init__(self, n_trials, n_agents, rng):
        super().__init__(n_trials, n_agents)
        self.deck = rng.integers(0, 3, (n_trials, n_agents))
        self.number = rng.integers(1, 10, (n_trials, n_agents))
        self.outcome = outcomes(self.deck, self.number, rng)

    def cue(self, name):
        return self.deck[self.trial] if name == "deck" else self.number[self.trial].astype(float)

    def answer(self, name, choices):
        # NaN: nothing is shown after a decline, so nothing is learned there; the file has a blank.
        return np.where(choices["choice"] == 1, self.outcome[self.trial], np.nan)


class CardsAgain(Recorded):
    """Recorded trials, for free-running predictions: what a declined gamble would have paid has to be drawn."""

    simulated = "outcomes of declined gambles simulated"

    def __init__(self, columns, copies, rng):
        super().__init__(columns, copies)
        drawn = outcomes(self.every("deck"), self.every("number"), rng)
        self.outcome = np.where(self.every("outcome_given"), self.every("outcome"), drawn)

    def answer(self, name, choices):
        return np.where(choices["choice"] == 1, self.outcome[self.trial], np.nan)

    def shows(self, name):
        return self.now("choice_given")  # unlike in the data, also where the person declined and the agent gambles

    def learns(self):
        return self.now("choice_given")


class DeckGame(Task):
    """Three decks, a number to beat, and the choice to gamble or not."""

    columns = (
        Column("deck", "cue", "deck from which the own card is drawn", labels=("1", "2", "3")),
        Column("number", "quantity", "the computer's card, 1 to 9"),
        Column("choice", "choice", "1 gamble, 0 decline; blank if missed", labels=("0", "1")),
        Column("outcome", "outcome", "1 won, 0 drew, -1 lost; blank if declined", aliases=("reward",)),
    )

    @classmethod
    def play(cls, n_trials, n_agents, rng, **settings):
        codings = {"deck": ("1", "2", "3"), "choice": ("0", "1")}
        return cls(2, codings["choice"], (-1.0, 1.0), codings=codings), Cards(n_trials, n_agents, rng)

    def replay(self, columns, copies, rng, **settings):
        return CardsAgain(columns, copies, rng)


class TwoRates(Model):
    """Values of decks, learned at one rate from wins and another from losses; a draw takes the mean of both."""

    task = DeckGame
    reference = "Michely et al. 2022, Commun Biol, 10.1038/s42003-022-03690-5"
    alpha_win = unit("learning rate after a win")
    alpha_loss = unit("learning rate after a loss")
    beta_number = positive("weight of the computer's card", median=4.0, usual=(1.0, 12.0))
    beta_deck = positive("weight of the deck's value", unit="1/outcome", median=2.0, usual=(0.5, 8.0))
    bias = real("log odds to gamble when nothing speaks for or against it")
    q = latent("values of the decks, over and above the number", "outcome")
    rpe = latent("prediction error", "outcome")

    def start(self, p, task):
        return State(q=filled(len(task.codings["deck"]), 0.0))

    def trial(self, s, p, t):
        deck, chance = t.cue("deck"), (5 - t.cue("number")) / 4  # 1 for the lowest number, -1 for the highest
        t.choose("choice", bernoulli_logit(p.bias + p.beta_number * chance + p.beta_deck * s.q[deck]))
        outcome = t.observe("outcome")
        rpe = outcome - chance - s.q[deck]
        draw = (p.alpha_win + p.alpha_loss) / 2
        s.q[deck] += where(outcome > 0, p.alpha_win, where(outcome < 0, p.alpha_loss, draw)) * rpe
        t.record(rpe=rpe)
