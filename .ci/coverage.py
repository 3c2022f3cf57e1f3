#!/usr/bin/env python3
"""What intervals of 95 % hold of what they promise: of samples of made-up senders, how often the truth lies within.

    python3 .ci/coverage.py [SAMPLES]

Senders are drawn anew for each sample. Beside the interval that `smtp-smol audit` prints (computed by loss_check.py, which
compares it with the program's): the bootstrap by sender, its percentiles; bootstrap-t by sender, studentised with the
linearised variance; the jackknife by sender, with Student's t of its degrees of freedom; and Wilson's, by message.
Fails where the program's leaves 93 to 97 %, give or take what chance does in so many samples.
"""

import math
import sys

import numpy

from loss_check import Z, interval, student

RESAMPLES = 400
# Senders; their messages; what part of them is lost; the name of it.
SCENARIOS = [
    (500, ("log-normal", 1.0), ("whole", 0.10)),
    (2000, ("log-normal", 1.0), ("whole", 0.005)),
    (300, ("log-normal", 1.5), ("whole", 0.05)),
    (200, ("log-normal", 2.0), ("whole", 0.10)),
    (1000, ("log-normal", 2.0), ("whole", 0.10)),
    (1000, ("pareto", 1.2), ("whole", 0.10)),
    (1000, ("pareto", 1.2), ("whole", 0.02)),
    (500, ("log-normal", 1.0), ("each", 0.10)),
    (500, ("pareto", 1.2), ("beta", 0.10)),
    (500, ("log-normal", 2.0), ("beta", 0.10)),
]
TABLE = {freedom: student(freedom) for freedom in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 1000, 100_000)}


def quantile(freedom):
    """Student's, from a table: with 1/freedom between its rows."""
    rows = sorted((1 / freedom, t) for freedom, t in TABLE.items())
    return float(numpy.interp(1 / max(1, freedom), *zip(*rows)))


def draw(random, senders, sizes, losing):
    kind, spread = sizes
    if kind == "log-normal":
        messages = numpy.ceil(numpy.exp(spread * random.standard_normal(senders)))
    else:  # cut off at 3,000
        messages = numpy.floor((1 - random.random(senders) * (1 - 3000.0**-spread)) ** (-1 / spread))
    kind, share = losing
    if kind == "whole":
        return numpy.where(random.random(senders) < share, messages, 0.0), messages
    parts = share if kind == "each" else random.beta(share, 1 - share, senders)
    return random.binomial(messages.astype(int), parts).astype(float), messages


def shares(lost, messages):
    """Of each row the share, and its linearised variance."""
    total = messages.sum(-1)
    p = lost.sum(-1) / total
    return p, ((lost - p[..., None] * messages) ** 2).sum(-1) / total**2


def resampled(random, lost, messages):
    """The two bootstraps."""
    rows = random.integers(0, len(lost), (RESAMPLES, len(lost)))
    p, variance = shares(lost, messages)
    ps, variances = shares(lost[rows], messages[rows])
    percentiles = numpy.quantile(ps, (0.025, 0.975))
    usable = variances > 0
    if usable.sum() < RESAMPLES / 2:
        return percentiles, percentiles
    low, high = numpy.quantile((ps[usable] - p) / numpy.sqrt(variances[usable]), (0.025, 0.975))
    return percentiles, (p - high * math.sqrt(variance), p - low * math.sqrt(variance))


def jackknife(lost, messages):
    p = lost.sum() / messages.sum()
    changes = (lost.sum() - lost) / (messages.sum() - messages) - p
    if not changes.any():
        return p, p
    half = quantile((changes**2).sum() ** 2 / (changes**4).sum()) * math.sqrt((changes**2).sum())
    return p - half, p + half


def wilson(lost, messages):
    n = messages.sum()
    p = lost.sum() / n
    middle, half = p + Z**2 / 2 / n, Z * math.sqrt(p * (1 - p) / n + Z**2 / 4 / n**2)
    return (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)


def main():
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    random = numpy.random.default_rng(20261124)
    slack = 100 * 3 * math.sqrt(0.05 * 0.95 / samples)
    names = ("ours", "percentiles", "bootstrap-t", "jackknife", "by message")
    print(f"{'':47}" + "".join(f"{name:>13}" for name in names))
    wrong = 0
    for senders, sizes, losing in SCENARIOS:
        held = numpy.zeros(len(names))
        for _ in range(samples):
            lost, messages = draw(random, senders, sizes, losing)
            ours = interval(lost, messages, quantile)
            if 0 < lost.sum() < messages.sum():
                others = [*resampled(random, lost, messages), jackknife(lost, messages), wilson(lost, messages)]
            else:
                others = [ours] * 4  # the rule of three, for all
            held += [low <= losing[1] <= high for low, high in (ours, *others)]
        held *= 100 / samples
        wrong += not 93 - slack <= held[0] <= 97 + slack
        what = f"{senders} senders, {sizes[0]} {sizes[1]}, {losing[0]} {losing[1]}"
        print(f"{what:47}" + "".join(f"{percent:11.1f} %" for percent in held), flush=True)
    print(f"{samples} samples of each; {wrong} of ours out of 93 to 97 %, give or take {slack:.1f}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
