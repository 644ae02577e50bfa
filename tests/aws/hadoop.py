"""HDFS and YARN on this machine: each daemon is a separate process, as on a real cluster."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ports import free_port

MEGABYTES = 20 * 1024
CORES = 8


class Hadoop:
    """A NameNode, a DataNode, a ResourceManager and NodeManagers.

    Args:
        folder: the folder for their files and logs.
        jars: a class path with the jars of Hadoop's client and daemons.
        nodes: the number of NodeManagers, each with 8 cores and 20 GB.
    """

    def __init__(self, folder: Path, jars: str, nodes: int = 2) -> None:
        self.folder, self.jars = folder, jars
        servers = ("hdfs", "hdfs-web", "yarn", "scheduler", "tracker", "admin", "web")
        self.ports = {name: free_port() for name in servers}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.nodes = [f"node-{n}" for n in range(nodes)]
        #: The configuration for clients, a value for HADOOP_CONF_DIR.
        self.conf = self._configure("client")

    def start(self) -> None:
        """Starts all daemons, and waits until all nodes are registered."""
        hdfs, yarn = "org.apache.hadoop.hdfs.server", "org.apache.hadoop.yarn.server"
        name = self._configure("name")
        self._finish("format", name, f"{hdfs}.namenode.NameNode", "-format", "-nonInteractive")
        self._start("name", name, f"{hdfs}.namenode.NameNode")
        self._start("data", self._configure("data"), f"{hdfs}.datanode.DataNode")
        self._start("resources", self.conf, f"{yarn}.resourcemanager.ResourceManager")
        for node in self.nodes:
            self._start(node, self._configure(node), f"{yarn}.nodemanager.NodeManager")
        self.wait_for(lambda: len(self.alive()) == len(self.nodes) and self._has_data_node())

    def stop(self) -> None:
        for daemon in self.daemons.values():
            daemon.kill()
            daemon.wait()

    def wait_for(self, happened: Callable[[], object], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            for name, daemon in self.daemons.items():
                assert daemon.poll() is None, self._log(name).read_text()[-3000:]
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.3)

    def put(self, file: Path, path: str) -> None:
        """Copies a local file into HDFS."""
        self._finish("put", self.conf, "org.apache.hadoop.fs.FsShell", "-put", str(file), path)

    def alive(self) -> list[str]:
        """The NodeManagers that the ResourceManager can use."""
        found = (self.ask("nodes?states=RUNNING").get("nodes") or {}).get("node", [])
        return [node["id"] for node in found]

    def applications(self) -> list[dict[str, Any]]:
        """All applications, as the ResourceManager describes them; the latest one is the last."""
        found = (self.ask("apps").get("apps") or {}).get("app", [])
        return sorted(found, key=lambda application: application["startedTime"])

    def containers(self, application: str) -> dict[str, str]:
        """The output of an application's containers, by container and file."""
        return {
            f"{file.parent.name}/{file.name}": file.read_text(errors="replace")
            for node in self.nodes
            for file in sorted((self.folder / node / "logs" / application).glob("*/std*"))
        }

    def ask(self, what: str) -> dict[str, Any]:
        """A response of the ResourceManager's REST server; empty if it does not respond."""
        return self._get(self.ports["web"], f"ws/v1/cluster/{what}")

    def _has_data_node(self) -> bool:
        query = "jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        beans = self._get(self.ports["hdfs-web"], query).get("beans", [])
        return any(bean["NumLiveDataNodes"] for bean in beans)

    @staticmethod
    def _get(port: int, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def _start(self, name: str, conf: Path, *command: str) -> None:
        self.daemons[name] = self._run(name, conf, *command)

    def _finish(self, name: str, conf: Path, *command: str) -> None:
        assert self._run(name, conf, *command).wait(300) == 0, self._log(name).read_text()[-3000:]

    def _run(self, name: str, conf: Path, *command: str) -> "subprocess.Popen[bytes]":
        java = ["java", "-Xmx512m", "-cp", f"{conf}:{self.jars}", *command]
        with self._log(name).open("w") as log:
            return subprocess.Popen(
                java, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _configure(self, name: str) -> Path:
        """A folder with the settings of one daemon."""
        here, there = self.folder / name, "127.0.0.1"
        conf = here / "conf"
        conf.mkdir(parents=True)
        port = self.ports
        core = {"fs.defaultFS": f"hdfs://{there}:{port['hdfs']}", "hadoop.tmp.dir": f"{here}/tmp"}
        hdfs = {
            "dfs.replication": 1,
            "dfs.namenode.http-address": f"{there}:{port['hdfs-web']}",
            "dfs.datanode.address": f"{there}:0",
            "dfs.datanode.http.address": f"{there}:0",
            "dfs.datanode.ipc.address": f"{there}:0",
        }
        yarn = {
            "yarn.resourcemanager.hostname": there,
            "yarn.resourcemanager.address": f"{there}:{port['yarn']}",
            "yarn.resourcemanager.scheduler.address": f"{there}:{port['scheduler']}",
            "yarn.resourcemanager.resource-tracker.address": f"{there}:{port['tracker']}",
            "yarn.resourcemanager.admin.address": f"{there}:{port['admin']}",
            "yarn.resourcemanager.webapp.address": f"{there}:{port['web']}",
            "yarn.nodemanager.address": f"{there}:0",
            "yarn.nodemanager.localizer.address": f"{there}:0",
            "yarn.nodemanager.webapp.address": f"{there}:0",
            "yarn.nodemanager.local-dirs": here / "local",
            "yarn.nodemanager.log-dirs": here / "logs",
            "yarn.nodemanager.resource.memory-mb": MEGABYTES,
            "yarn.nodemanager.resource.cpu-vcores": CORES,
            "yarn.nodemanager.delete.debug-delay-sec": 0,
            # The disk of the machine that runs the tests may be nearly full.
            "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": 99,
            # The files of a finished application are kept, because the tests read them.
            "yarn.nodemanager.log.retain-seconds": 3600,
            "yarn.scheduler.maximum-allocation-mb": MEGABYTES,
        }
        queue = "yarn.scheduler.capacity.root"
        capacity = {
            f"{queue}.queues": "default",
            f"{queue}.default.capacity": 100,
            "yarn.scheduler.capacity.maximum-am-resource-percent": 1.0,
        }
        files = {"core-site": core, "hdfs-site": hdfs, "yarn-site": yarn}
        for file, settings in {**files, "capacity-scheduler": capacity}.items():
            lines = (
                f"<property><name>{key}</name><value>{escape(str(value))}</value></property>"
                for key, value in settings.items()
            )
            text = "\n".join(["<configuration>", *lines, "</configuration>\n"])
            (conf / f"{file}.xml").write_text(text)
        return conf
