"""What is done to a cluster, and what must become of its machine.

Each row begins with the machine on a, and b would have it, too. `steps` are words of world.py's; a step
that begins with "→" says what must follow: where the machine runs ("a", "b", "ab": either; "nowhere"),
and how often its guest was started anew since the beginning ("0", "1", "0-2"). "within" is generous:
what is asserted of time is that it ends; how long it took is printed.
"""

import dataclasses


@dataclasses.dataclass
class Row:
    name: str
    steps: list
    within: float = 30
    # "file": it refuses nobody, so it shows whatever comes too late.
    # "refuses": the holder of its reservation alone may write. For rows that may stop a VM's process between
    #     its last look at the page and its system call: such a write is late, and only a disk that refuses
    #     stops it (docs/FAILOVER.md, the table of windows).
    # "registrants": whoever is registered may write.
    # "target": on a real one, at s.
    disk: str = "file"
    throttles: bool = False  # it needs control groups
    tries: int = 3  # of what a machine short of processors may miss; never of safety

    def __post_init__(self):
        self.steps = [step.strip() for step in self.steps.split(";")]


ROWS = [
    # Nothing that the guest notices.
    Row("witness is lost", "power_off w; wait 4; → a 0; power_on w; → a 0"),
    Row("witness is cut off", "cut w; wait 4; → a 0; heal; → a 0"),
    Row("etcd of the owner is killed", "kill etcd a; wait 4; → a 0; start etcd a; → a 0"),
    Row("etcd's leader is killed", "kill etcd leader; wait 4; → a 0; start etcd killed; → a 0"),
    Row("etcd of the owner stands still", "stop etcd a; wait 5; → a 0; go_on etcd a; → a 0"),
    Row("etcd's leader stands still", "stop etcd leader; wait 5; → a 0; heal; → a 0"),
    Row("daemon is killed", "kill daemon a; wait 4; start daemon a; → a 0"),
    Row("daemon stands still", "stop daemon a; wait 5; go_on daemon a; → a 0"),
    Row("daemon and etcd are killed", "kill daemon a; kill etcd a; wait 4; heal; → a 0"),
    Row("all of the owner stands still for 1 s", "stop all a; wait 1; go_on all a; → a 0"),
    Row("owner is cut off for 1 s", "cut a; wait 1; heal; → a 0"),
    Row("cable between the nodes", "cut a b; wait 5; → a 0; heal; → a 0"),
    Row("cable between owner and witness", "cut a w; wait 5; → a 0; heal; → a 0"),
    Row("cable between the other and the witness", "cut b w; wait 5; → a 0; heal; → a 0"),
    Row("other loses power", "power_off b; wait 4; → a 0; power_on b; → a 0"),
    Row("other is cut off", "cut b; wait 5; → a 0; heal; → a 0"),
    Row("other stands still", "stop all b; wait 5; → a 0; go_on all b; → a 0"),
    Row("watch after compaction", "stop daemon b; compact; wait 2; go_on daemon b; kill etcd b; compact; "
        "start etcd b; → a 0; power_off a; → b 1"),
    Row("VM's process stands still, its session lives", "stop vmm a; wait 4; go_on vmm a; → a 0"),

    # The guest is started anew, once.
    Row("owner loses power", "power_off a; → b 1; power_on a; wait 2; → b 1"),
    Row("owner and etcd's leader lose power", "kill etcd leader; power_off a; start etcd killed; → b 1"),
    Row("owner is cut off", "cut a; → b 1; heal; wait 2; → b 1"),
    Row("owner stands still", "stop all a; → b 1; go_on all a; wait 2; → b 1", disk="refuses"),
    Row("keeper stands still", "stop keeper a; → b 1; go_on keeper a; wait 2; → b 1"),
    Row("keeper and VM stand still", "stop keeper a; stop vmm a; → b 1; go_on vmm a; "
        "go_on keeper a; wait 2; → b 1", disk="refuses"),
    Row("VM is killed", "kill vmm a; → a 1"),
    Row("VM has hardly any processor time while its node is lost",
        "throttle 0.01 a; wait 1; cut a; → b 1; unthrottle; heal; wait 2; → b 1", disk="refuses", throttles=True),
    Row("owner is slow by 2 s", "slow 2 a; → b 1; heal; wait 2; → b 1"),
    Row("owner hears nothing", "cut b a one-way; cut w a one-way; → b 1; heal; wait 2; → b 1"),
    Row("nobody hears the owner", "cut a * one-way; → b 1; heal; wait 2; → b 1"),
    Row("one loses power after the other",
        "power_off a; → b 1; power_on a; until a live=1; power_off b; → a 2"),

    # No majority: it is paused, and never in two places.
    Row("owner and witness lose power", "power_off a w; wait 4; → nowhere; power_on w; → b 1"),
    Row("other and witness lose power", "power_off b w; wait 2; → nowhere; power_on b w; → ab 0-1"),
    Row("everybody is alone", "cut *; wait 2; → nowhere; heal; → ab 0-1"),
    Row("everything is slow by 2 s", "slow 2 *; wait 3; → nowhere; heal; → ab 0-1"),
    Row("etcd's disks are full", "alarm a; wait 2; → nowhere; calm a; → ab 0-1"),
    Row("both lose power, the other returns",
        "power_off a b; power_on b; → b 1; power_on a; wait 2; → b 1"),
    Row("both lose power, the owner returns",
        "power_off a b; power_on a; → a 1; power_on b; wait 2; → a 1"),
    Row("all lose power", "power_off a b w; power_on w a b; → ab 1"),

    # Whoever takes over is harmed.
    Row("taker's daemon dies while it fences", "cut a; fence_slowly b; kill daemon b; answer_fence; wait 1; "
        "start daemon b; → b 1; heal; wait 2; → b 1"),
    Row("taker's daemon dies when it runs", "power_off a; until b process=running; kill daemon b; wait 1; "
        "start daemon b; → b 1-2"),
    Row("taker loses power while it fences", "power_off a; fence_slowly b; power_off b; answer_fence; "
        "power_on a; → a 1; power_on b; wait 2; → a 1"),
    Row("taker stands still while it fences, the owner returns",
        "cut a; fence_slowly b; stop all b; heal_network; "
        "answer_fence; → a 0-1; go_on all b; wait 2; → ab 0-1", disk="refuses"),
    Row("owner returns in the middle", "cut a; fence_slowly b; heal; wait 1; answer_fence; → b 1; wait 2; "
        "→ b 1"),

    # Bad, but not gone.
    Row("owner loses 30 % of all frames", "lose 0.3 a; wait 8; heal; → ab 0-5"),
    Row("everybody loses 30 % of all frames", "lose 0.3 *; wait 8; heal; → ab 0-5"),
    Row("witness is slow by 2 s", "slow 2 w; wait 5; → a 0; heal; → a 0"),
    Row("keeper is killed", "kill keeper a; wait 1; start keeper a; wait 4; → ab 0-2"),

    # The disk is on a target, which refuses by itself.
    Row("owner loses power and the disk is on a target",
        "power_off a; → b 1; power_on a; wait 2; → b 1", disk="target"),
    Row("owner stands still and the disk is on a target",
        "stop all a; → b 1; go_on all a; wait 2; → b 1", disk="target"),
    Row("owner's way to the disk", "cut a s; wait 3; heal; → a 0-1", disk="target"),
    Row("target stands still", "stop_target; wait 4; heal_disk; → a 0-1", disk="target"),
    Row("target is killed and begun anew", "kill_target; wait 1; heal_disk; → a 0-2", disk="target"),
    Row("target is lost to both while the owner loses power",
        "cut * s; power_off a; wait 5; → nowhere; heal_network; → b 1", disk="target"),

    # etcd goes back.
    Row("etcd is restored from a backup", "backup; wait 1; restore 2; wait 4; → ab 0-2"),
]

# What is done to programs that lack one rule, and what must then be found wrong. As they are, the same
# steps find nothing wrong.
HELD_BY_ANOTHER = "while the disk was held by"
MUTATIONS = {
    "no_latch": (Row("no latch", "cut a; → b"), HELD_BY_ANOTHER),
    "wait_below_own": (Row("T_wait below T_own", "cut a; → b"), HELD_BY_ANOTHER),
    "no_revision_compare": (
        Row("no compare of the heartbeat's revision", "stop daemon b; wait 4.5; cut a; go_on daemon b; → b"),
        HELD_BY_ANOTHER),
    "no_preempt_verification": (
        Row("no verification of PREEMPT", "lose_preempts; cut a; wait 5; find_preempts; → b"),
        HELD_BY_ANOTHER),
    "credit_from_receipt": (
        Row("credit from receiving time", "stop etcd a; wait 3; slow 0.2 b a one-way; "
            "slow 0.2 w a one-way; wait 0.3; check_credit a"), "from when etcd can have heard"),
    "register_on_reconnect": (
        Row("no REGISTER on reconnect", "hold_disk a; wait 0.2; cut a; until b process=running; heal_disk; "
            "wait 1; → b 1", disk="registrants"), HELD_BY_ANOTHER),
}
ALL_ROWS = ROWS + [row for row, _ in MUTATIONS.values()]
BY_NAME = {row.name: row for row in ALL_ROWS}
