"""A world's disk on a real target (tgtd), a machine of its own on that network: s. What it has accepted is what
is on it, since the guest never writes a sector twice."""

import pathlib
import signal
import struct
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import iscsi_target  # noqa: E402

SECTOR = 512


class SharedTarget:
    """As front_door.FrontDoor is, to those who look at what became of the disk."""

    def __init__(self, folder, sectors, lan):
        self.size = sectors * SECTOR
        self.target = iscsi_target.Target(folder, self.size, address=lan.address("s"),
                                          inside=lan.inside("s")).start()
        self.harm = None

    def word(self):
        """The disk, as gemel run has it."""
        return f"iscsi://{self.target.address}:{self.target.port}/{iscsi_target.NAME}/1"

    @property
    def log(self):
        """(number, node) of each record, in order."""
        content = self.target.content(0, self.size)
        found = [struct.unpack_from("<QQ", content, at) for at in range(0, self.size, SECTOR)]
        return found[1:max(number for number, _ in found) + 1]

    def accepted(self):
        return set(self.log)

    def wrong(self):
        return [f"record {at} is missing: {one}" for at, one in enumerate(self.log, 1) if one[0] != at][:10]

    def stop(self):
        self.harm = "stop"
        self.target.process.send_signal(signal.SIGSTOP)

    def kill(self):
        self.harm = "kill"
        self.target.kill()

    def heal(self):
        if self.harm == "kill":
            self.target.start()
        elif self.harm:
            self.target.process.send_signal(signal.SIGCONT)
        self.harm = None
