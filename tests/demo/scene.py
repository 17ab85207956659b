# SPDX-License-Identifier: GPL-2.0
"""The scene: hosts, Docker, containers, and what everything is called."""

import os
import pathlib
import subprocess

import ctrfw_paths
import hosts
import module
from kernellog import KernelLog
from lib.docker import Engine, make_archive
from tally import Tally, heading, progress, show

RESULTS = pathlib.Path(os.environ.get("CTRFW_RESULTS", "/results"))
WORK = pathlib.Path("/run/ctrfw-demo")
VERSION = "ctrfw: version "


class Scene:
    """places: {name: Place}; names: {inode: name} of network namespaces;
    words: what the words of path_table.py stand for."""

    def __init__(self):
        self.tally = Tally()
        self.log = KernelLog()
        self.engine = Engine(RESULTS)
        self.places, self.names, self.words = {}, {}, {}
        self.containers = {}
        self.add_place(hosts.Place("host", None))

    def build(self):
        # One namespace is there before the module, the others come after it.
        self.add_place(hosts.add_ext())
        self.insert_module()
        progress("dockerd starts (about 20 s under emulation) ...")
        self.engine.start()
        self.add_place(hosts.add_lan())
        WORK.mkdir()
        for name, port in (("ext", 80), ("lan", 80), ("host", 9000)):
            hosts.serve(self.places[name], port, WORK)
        make_archive(WORK / "tiny.tar", hosts.page("web"))
        version = self.engine.wait()
        progress(f"Docker {version} answers; docker import ...")
        self.engine.import_image(WORK / "tiny.tar")
        progress("docker run -d -p 8081:8080 --name web ...")
        self.add_container("web", options=("-p", "8081:8080"))
        progress("docker run -d --name client ...")
        self.add_container("client", "sleep", "3600")
        # As `ctrfw-paths --netns-from-ip --netns-from-docker` finds them.
        self.names = {self.places["host"].inode: "host"}
        self.names |= ctrfw_paths.names_from_ip() | ctrfw_paths.names_from_docker()
        self.words |= {"ext": "203.0.113.2", "host": "203.0.113.1"}
        self.describe()

    def insert_module(self):
        heading("The module, before Docker starts")
        show(f"  $ insmod ctrfw.ko {' '.join(module.OPTIONS)}")
        module.insert()
        lines = self.log.read_until(lambda lines: any(VERSION in x for x in lines))
        said = [x for x in lines if "ctrfw: " in x and "taint" not in x]
        show("\n".join(f"  {line}" for line in said))
        ok = len(said) == 1 and VERSION in said[0]
        self.tally.check(ok, "insmod says in one line what it is and what it hooked")
        # The console keeps warnings and worse; traces are for the log alone.
        subprocess.run(["dmesg", "-n", "5"], check=True)

    def add_place(self, place):
        self.places[place.name] = place

    def add_container(self, name, *arguments, options=()):
        container = self.engine.run(name, *arguments, options=options)
        self.containers[name] = container
        self.words[name] = container.address
        self.words[f"port({name})"] = container.port
        self.add_place(hosts.Place(name, container.net))

    def describe(self):
        heading("The scene")
        show(hosts.PICTURE)
        missing = sorted(self.places.keys() - self.names.values())
        self.tally.check(not missing, "every host's namespace is known", str(missing))
        named = (f"{p.name} {p.inode}" for p in self.places.values())
        show(f"  network namespaces: {', '.join(named)}")
        ports = (f"{c.port} leads to {name}" for name, c in self.containers.items())
        show(f"  ports of docker0: {', '.join(ports)}")
        web = self.words["web"]
        self.tally.check(
            web == "172.17.0.2", "web has the address that policy.rules names", web
        )
        progress("the scene is set")
