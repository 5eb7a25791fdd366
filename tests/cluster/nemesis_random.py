"""Mixtures of nemeses: the same seed gives the same steps."""

import random

import nemesis_table

MOMENTS = 9
PARTS = ("etcd", "daemon", "keeper", "vmm", "all")


def step(rng):
    one, other = rng.sample("abw", 2)
    node = rng.choice("ab")
    part = rng.choice(PARTS)
    where = rng.choice("abw") if part in ("etcd", "all") else node
    return rng.choice([
        f"cut {one} {other}", f"cut {one}", f"cut {one} {other} one-way", f"cut {one} * one-way", "join",
        f"join {one}", "heal_network", f"lose {rng.choice([0.1, 0.3, 0.6])} {one}",
        f"slow {rng.choice([0.05, 0.3, 2])} {one}", f"slow_disk {rng.choice([0.05, 0.3])} {node}",
        f"power_off {one}", f"power_on {one}", f"power_on {one}",
        f"stop {part} {where}", f"go_on {part} {where}", f"go_on all {where}",
        f"kill {part} {where}", f"start all {where}", f"start all {where}", "heal"])


def mixture(seed):
    """As a row whose name is "mixture SEED"."""
    rng = random.Random(seed)
    steps = []
    for _ in range(MOMENTS):
        steps += [step(rng) for _ in range(rng.choice([1, 1, 2]))]
        steps.append(f"wait {rng.choice([0.1, 0.5, 1, 2, 3.5])}")
    return nemesis_table.Row(f"mixture {seed}", "; ".join([*steps, "heal", "→ ab"]), within=60,
                             disk="refuses", tries=1)


def row(name):
    """Of the table, or a mixture."""
    word, _, seed = name.partition(" ")
    return mixture(int(seed)) if word == "mixture" else nemesis_table.BY_NAME[name]
