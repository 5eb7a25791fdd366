"""What is done to whole hosts, and what must become of the machine. As nemesis_table.py of tests/cluster has
it: a step that begins with "→" says where it must then go on ("owner", "other", as they were when the row began;
"any"; "nowhere"), and how often its guest was started anew since the row began."""

import dataclasses

import nemesis_table


@dataclasses.dataclass
class Row(nemesis_table.Row):
    within: float = 90
    every: bool = False  # `./check` runs it each time, else `--long` alone


ROWS = [
    # A host stands still. By QMP its clocks do, too, and it cannot know: the disk alone stands between.
    Row("owner stands still for 1 s with its clocks", "pause owner; wait 1; go_on owner; → owner 0; wait 4; "
        "→ owner 0", every=True),
    Row("owner stands still with its clocks", "pause owner; → other 1; go_on owner; gone owner; → other 1",
        every=True),
    Row("owner stands still for a minute with its clocks", "pause owner; wait 60; → other 1; go_on owner; "
        "gone owner; → other 1"),
    Row("owner stands still for 1 s", "stop owner; wait 1; go_on owner; → owner 0; wait 4; → owner 0"),
    Row("owner stands still", "stop owner; → other 1; go_on owner; gone owner; → other 1"),
    Row("other stands still with its clocks", "pause other; wait 6; → owner 0; go_on other; wait 4; "
        "→ owner 0"),
    Row("witness stands still with its clocks", "pause witness; wait 6; → owner 0; go_on witness; wait 4; "
        "→ owner 0"),

    # Power.
    Row("both nodes lose power, the other returns first", "power_off owner other; power_on other; → other 1; "
        "power_on owner; wait 4; → other 1"),
    Row("both nodes lose power, the owner returns first", "power_off owner other; power_on owner; → owner 1; "
        "power_on other; wait 4; → owner 1"),
    Row("owner and witness lose power, the witness returns", "power_off owner witness; wait 4; → nowhere; "
        "power_on witness; → other 1; power_on owner; wait 4; → other 1"),
    Row("all lose power", "power_off owner other witness; power_on witness other owner; → any 1"),

    # Clocks that run apart, as far as the rules allow: the latch ends before the take-over begins.
    Row("owner's clock is slow and the other's fast, the owner is cut off from all but its disk",
        "rate owner 90; rate other 110; isolate owner; → other 1; no_late_write; heal; gone owner; → other 1",
        every=True),
    Row("owner's clock is fast and the other's slow, the owner is cut off from all but its disk",
        "rate owner 110; rate other 90; isolate owner; → other 1; no_late_write; heal; gone owner; "
        "→ other 1"),
    *(Row(f"clock of the {role} runs at {percent} %, the owner loses power",
          f"rate {role} {percent}; wait 6; → owner 0; power_off owner; → other 1")
      for role in ("owner", "other", "witness") for percent in (90, 110)),
    Row("a fast clock is told of", "rate other 110; alert owner %_faster; → owner 0"),

    # Real time is stepped: nothing is decided by it.
    Row("real time is an hour ahead on both nodes and behind on the witness, the owner loses power",
        "step owner 3600; step other 3600; step witness -3500; wait 4; → owner 0; power_off owner; "
        "→ other 1; power_on owner; wait 4; → other 1", every=True),
    *(Row(f"real time of the {role} is stepped by {seconds} s, the owner loses power",
          f"step {role} {seconds}; wait 4; → owner 0; power_off owner; → other 1")
      for role in ("owner", "other", "witness") for seconds in (3600, -3500)),

    # The disk under etcd and all that Gemel keeps of a host stands still.
    Row("disk of the owner stands still", "freeze_disk owner; wait 6; → owner 0; thaw_disk owner; → owner 0",
        every=True),
    Row("disk of the other stands still", "freeze_disk other; wait 6; → owner 0; thaw_disk other; → owner 0"),
    Row("disk of the witness stands still", "freeze_disk witness; wait 6; → owner 0; thaw_disk witness; "
        "→ owner 0"),
    Row("disks of the owner and the witness stand still", "freeze_disk owner witness; → nowhere; "
        "thaw_disk witness; → any 0-1; thaw_disk owner; → any 0-1"),
    Row("disk of the owner stands still, then it loses power", "freeze_disk owner; wait 4; → owner 0; "
        "power_off owner; → other 1; power_on owner; wait 4; → other 1"),
]
