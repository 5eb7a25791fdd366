"""What is done to whole hosts, and what must become of the machine. As nemesis_table.py of tests/cluster
has it: a step that begins with "→" says where it must then go on ("owner", "other", as they were when the
row began; "any"; "nowhere"), and how often its guest was started anew since the row began."""

import dataclasses

import nemesis_table


@dataclasses.dataclass
class Row(nemesis_table.Row):
    within: float = 90
    every: bool = True  # `./check` runs it each time, else `--long` alone


ROWS = [
    # A host stands still. By QMP its clocks do, too, and it cannot know: the disk alone stands between.
    Row("owner stands still for 1 s with its clocks", "pause owner; wait 1; go_on owner; → owner 0; wait 4; "
        "→ owner 0"),
    Row("owner stands still with its clocks", "pause owner; → other 1; go_on owner; gone owner; → other 1"),

    # The disk under etcd and all that Gemel keeps of a host stands still.
    Row("disk of the owner stands still", "freeze_disk owner; wait 6; → owner 0; thaw_disk owner; → owner 0"),
]
