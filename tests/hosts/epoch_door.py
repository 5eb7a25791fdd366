"""The way of all nodes to their target. What the target accepts is logged with who wrote it, in which
epoch; and what came from an epoch that was shut out already."""

import dataclasses
import re
import time

import held_link
import many

LOGIN = 0x03
RESERVE_OUT = 0x5f
TAKES = (1, 4, 5)  # RESERVE, PREEMPT, PREEMPT AND ABORT
MOST_UNANSWERED = 1  # records of a guest that were under way when its node was lost
NEXUS = re.compile(rb"InitiatorName=[^\0]*:n(\d+)\.m\d+\.e(\d+)-(\d+)\.")


@dataclasses.dataclass
class Write:
    """One record. `number`: as the guest counts; `epoch`: (incarnation, counter)."""
    at: float
    node: int
    epoch: tuple
    number: int


class EpochDoor(many.Door):
    """One thread carries it all, so the log is in the order in which the target answered. `sectors`: of the
    disk, which the guest writes in turn, record by record."""

    def __init__(self, port, address, sectors):
        self.sectors = sectors
        self.nexus = {}   # connection to the target -> (node, epoch)
        self.takes = {}   # of those that are not answered: (connection, tag) -> epoch
        self.claimed = (0, 0)
        self.late = []    # (node, epoch, the claimed one) of writes after the claim of a later epoch
        super().__init__(port, address, "all", [])

    def note_commands(self, far, commands):
        for pdu in commands:
            if pdu[0] & 0x3f == LOGIN and (found := NEXUS.search(pdu, 48)):
                node, incarnation, counter = map(int, found.groups())
                self.nexus[far] = node, (incarnation, counter)
            elif far in self.nexus:
                self.note_command(far, pdu)
        super().note_commands(far, commands)

    def note_command(self, far, pdu):
        node, epoch = self.nexus[far]
        if pdu[0] & 0x3f != held_link.SCSI_COMMAND:
            return
        if pdu[32] == RESERVE_OUT and pdu[33] & 0x1f in TAKES:
            self.takes[far, pdu[16:20]] = epoch
        elif held_link.is_write(pdu) and epoch < self.claimed:
            self.late.append((node, epoch, self.claimed))

    def note_answers(self, far, answers):
        for pdu in answers:
            if pdu[0] & 0x3f == held_link.SCSI_RESPONSE:
                epoch = self.takes.pop((far, pdu[16:20]), None)
                if epoch and (pdu[2], pdu[3]) == (0, many.GOOD):
                    self.claimed = max(self.claimed, epoch)
        super().note_answers(far, answers)

    def accepted(self, far, _lun, sector):
        node, epoch = self.nexus.get(far, (0, (0, 0)))
        before = self.log[-1].number if self.log else 0
        step = (sector - before) % self.sectors
        if step > self.sectors // 2:
            step -= self.sectors
        self.log.append(Write(time.monotonic(), node, epoch, before + step))

    def wrong(self):
        """What must never be in the log: a list of sentences."""
        found = []
        before = Write(0, 0, (0, 0), 0)
        for one in list(self.log):
            step = one.number - before.number
            same_epoch = one.epoch == before.epoch and one.node == before.node
            # After a pause the same record is sent again; one that was lost with its node may be on the disk
            # though nobody was told.
            most = 1 if same_epoch else 1 + MOST_UNANSWERED
            least = 0 if one.node == before.node else 1
            if not least <= step <= most or (one.epoch <= before.epoch and not same_epoch):
                found.append(f"{one} was accepted after {before}")
            before = one
        return found[:10]
