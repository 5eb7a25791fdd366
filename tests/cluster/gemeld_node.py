"""A node of a cluster as it is installed: its gemel-keeper and its gemeld, and what a client asks of it."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import certificates
import keeper
import members
import node

sys.path.insert(0, str(keeper.ROOT / "tests/api"))
import gemeld  # noqa: E402

VM = "projects/p/vms/web"


@contextlib.contextmanager
def pair_of(etcd, folder, words_of=lambda number: (), authority=None):
    """Nodes a and b, that know of each other. `words_of`: more words of the gemeld of a node. `authority`: a
    folder of certificates.py's; with it they ask each other, too."""
    with together(GemeldNode(folder, number, name, etcd, words_of(number), authority)
                  for number, name in ((1, "a"), (2, "b"))) as nodes:
        yield nodes


@contextlib.contextmanager
def pair_that_asks(folder):
    """Nodes a and b with certificates of one authority, over an etcd of their own."""
    authority = certificates.make(folder / "tls", members.addresses())
    etcd = members.Etcd(authority).start()
    etcd.put("/gemel/nodes/incarnation", keeper.incarnation(1))
    try:
        with pair_of(etcd, folder, authority=authority) as pair:
            yield pair
    finally:
        etcd.close()


def run_on_a(pair, **policy):
    """A machine runs on a, and both know; its uid."""
    a, b = pair
    failover = gemeld.v1("virtual_machines").FailoverSpec(preferred_node="nodes/a", **policy)
    a.daemon.well(a.daemon.create(run=True, spec=a.daemon.spec(failover=failover)))
    b.until("RUNNING", "a")
    return a.until("RUNNING", "a").uid


@contextlib.contextmanager
def together(two):
    """Both started, and known to each other; closed at the end."""
    nodes = []
    try:
        for one in two:
            nodes.append(one)
            one.start()
        for one in nodes:
            one.until_member_of(2)
        yield nodes
    finally:
        for one in nodes:
            one.close()


class GemeldNode:
    """Node `number`, called `name`. Its machines end with close(). `inside`: the words before its programs, if
    it has a place of its own."""

    def __init__(self, folder, number, name, etcd, words=(), authority=None, inside=()):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir()
        self.number, self.name = number, name
        pid = os.getpid()
        address = f"127.{110 + number}.{pid >> 8 & 255}.{pid & 255}"
        tls = authority and certificates.issue(authority, self.folder / "tls", name, [address])
        self.keeper = keeper.Keeper(self.folder, node.nearest(etcd, number), number, tls=tls,
                                    command=[*inside, keeper.PROGRAM])
        file = self.keeper.config
        file.write_text(f'cluster = "test"\nname = "{name}"\n' + file.read_text())
        if tls:
            file.write_text(file.read_text() + f'[member]\naddress = "{address}"\n'
                            f'certificate = "{tls}/member.pem"\n')
        self.daemon = gemeld.Gemeld(
            self.folder / "gemeld", "--node", name, "--cluster", file, *words,
            environment={"GEMEL_DIAL": str(keeper.BUILD / "helpers/dial/gemel-dial")})
        self.daemon.wrapper = list(inside)
        self.daemon.folder.mkdir()

    def start(self):
        self.keeper.start()
        self.daemon.start()
        return self

    def until_member_of(self, nodes):
        """Waits until it is a member, and knows of so many nodes that are."""
        messages = gemeld.v1("clusters")
        clusters = self.daemon.stub("clusters", "Clusters")

        def there():
            status = clusters.GetStatus(messages.GetStatusRequest(name="clusters/-"))
            return status.has_session and sum(node.live for node in status.nodes) >= nodes
        self.daemon.until(there)

    def get(self, vm=VM):
        return self.daemon.get(vm)

    def until(self, state, owner=None, vm=VM):
        """Waits until the machine is in that state, as this node says; the machine."""
        found = None

        def there():
            nonlocal found
            found = self.get(vm)
            word = gemeld.v1("virtual_machines").VirtualMachineState.Name(found.status.state)
            return (word == f"VIRTUAL_MACHINE_STATE_{state}"
                    and (owner is None or found.status.node == f"nodes/{owner}"))
        try:
            self.daemon.until(there)
        except AssertionError as error:
            raise AssertionError(f"{self.name}: not {state} on {owner}: {found.status}") from error
        return found

    def command(self, *words, others=()):
        """The words of a command that asks this node. `others`: nodes that may answer, too."""
        servers = [f"unix:{one.daemon.run_dir}/api.sock" for one in (self, *others)]
        return [keeper.BUILD / "cli/client/gemel-client", *words, "--server", ",".join(servers)]

    def try_gemel(self, *words, others=()):
        """How the command ended, without a terminal."""
        return subprocess.run(self.command(*words, others=others), capture_output=True, text=True,
                              timeout=keeper.PATIENCE, check=False, stdin=subprocess.DEVNULL)

    def gemel(self, *words, others=()):
        """What the command prints, which has ended well."""
        done = self.try_gemel(*words, others=others)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def has(self, vm=VM):
        return vm in [found.name for found in self.daemon.list()]

    def jail(self, uid):
        """The outer process of a machine's jail, or None."""
        mark = f"--vm={os.path.realpath(self.daemon.run_dir)}/vms/{uid}"
        return node.jail_of(mark)

    def vmm(self, uid):
        jail = self.jail(uid)
        return None if jail is None else node.children(node.children(jail)[0])[0]

    def vcpu_ran_ns(self, uid):
        """How long the processor of its guest has run, which never sleeps by itself ("echo")."""
        tasks = pathlib.Path(f"/proc/{self.vmm(uid)}/task")
        (vcpu,) = (task for task in tasks.iterdir() if (task / "comm").read_text() == "vcpu-0\n")
        return int((vcpu / "schedstat").read_text().split()[0])

    def console(self, uid):
        return node.console_of(self.daemon.run_dir / "vms" / uid)

    def lose_power(self):
        """All of the node at once: nobody hears a word of it."""
        self.daemon.process.send_signal(signal.SIGSTOP)
        self.keeper.signal(signal.SIGSTOP)
        self.kill_vms()
        self.keeper.kill()
        self.daemon.kill()

    def kill_vms(self):
        vms = self.daemon.run_dir / "vms"
        for folder in vms.iterdir() if vms.exists() else ():
            node.kill_jail(lambda uid=folder.name: self.jail(uid))

    def close(self):
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.kill()
        self.kill_vms()
        self.keeper.close()
