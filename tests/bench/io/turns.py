"""What the loads' reports have in common: runs in turn, and medians with their spread."""

import statistics


def in_turn(case, runners, runs):
    """Name -> results of runners[name](), run after run. Every other turn goes backwards, the first is
    discarded."""
    samples = {name: [] for name in runners}
    for turn in range(runs + 1):
        for name in runners if turn % 2 else reversed(runners):
            found = runners[name]()
            print(f"{case} {name}{'' if turn else ' (discarded)'}: "
                  f"{found['ops'] / found['ns'] * 1e9:.0f} a second, "
                  f"{found['device_cpu_ns'] / max(found['ops'], 1):.0f} ns CPU of the device each",
                  flush=True)
            if turn:
                samples[name].append(found)
    return samples


def conditions(runs, ms, realtime):
    how = (f"Medians of {runs} runs of {ms} ms in turn, after one discarded; in brackets the least and "
           "the most. Guest: `tests/guests/bench`, one vCPU.")
    if realtime:
        return how + " All ran with real-time priority (`chrt --fifo 1`), out of the way of other work."
    return how + " Other work had its share of the machine."


def rows(labelled, samples):
    """Of each label the row of spreads; labelled: label -> a function of one result, or of None."""
    found = []
    for label, value in labelled.items():
        columns = [[value(run) for run in results] for results in samples.values()]
        if any(None not in column for column in columns):
            found.append([label, *(spread(column) for column in columns)])
    return found


def spread(values):
    if not values or None in values:
        return ""
    digits = 1 if statistics.median(values) < 100 else 0
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def median(results, value):
    return statistics.median(value(run) for run in results)


def command_lines(commands):
    """argv lists, as one would type them; folders left out."""
    def word(text):
        text = str(text)
        if " " in text:
            return f"'{text}'"
        before, is_path, path = text.partition("/")
        return before + path.rsplit("/", 1)[-1] if is_path else text

    lines = "\n".join(" ".join(map(word, argv)) for argv in commands)
    return f"Command lines:\n\n```\n{lines}\n```"
