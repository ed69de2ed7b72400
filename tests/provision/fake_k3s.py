#!/usr/bin/python3
"""Stands in for K3s: says its version, starts as a service, writes the address file, lets agents join by token."""

# ruff: noqa: S104, SIM115, T201 - a program of its own, that lives in a node without a network

import os
import re
import signal
import socket
import sys
from pathlib import Path

VERSION = "@VERSION@"
CONFIG = Path("/etc/rancher/k3s/config.yaml")
ADDRESS_FILE = Path("/etc/rancher/k3s/k3s.yaml")
ADDRESSES = """apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: default, user: {token: address-file-secret}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
"""


def setting(name):
    found = re.search(rf"^{name}: (.*)$", CONFIG.read_text(), re.MULTILINE)
    return found[1].strip('"') if found else ""


def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"])
        notify.send(b"READY=1")


def server():
    token = Path(setting("token-file")).read_text().strip()
    mode = int(setting("write-kubeconfig-mode"), 8)
    os.umask(0)
    with os.fdopen(os.open(ADDRESS_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:
        out.write(ADDRESSES)
    with socket.create_server(("0.0.0.0", 6443)) as listening:
        ready()
        while True:
            connection, _ = listening.accept()
            with connection:
                asked = connection.makefile().readline().strip()
                known = Path("/var/lib/rancher/k3s")
                known.mkdir(parents=True, exist_ok=True)
                if asked == token:
                    (known / "joined").open("a").write("agent\n")
                    connection.sendall(b"welcome\n")


def agent():
    host, port = setting("server").removeprefix("https://").split(":")
    token = Path(setting("token-file")).read_text()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(token.encode())
        if connection.makefile().readline() != "welcome\n":
            sys.exit("the server does not know this token")
        ready()
        connection.recv(1)
    signal.pause()


def main():
    match [Path(sys.argv[0]).name, *sys.argv[1:]]:
        case [_, "--version"]:
            print(f"k3s version {VERSION} (stand-in)\ngo version go1.24.6")
        case [_, "server"]:
            server()
        case [_, "agent"]:
            agent()
        case [_, "kubectl", *rest] if rest[-2:] == ["--raw", "/readyz"]:
            socket.create_connection(("127.0.0.1", 6443)).close()
            print("ok")
        case [_, "ctr", "images", "import", archive]:
            Path("/var/lib/rancher/k3s/imported").open("a").write(f"{Path(archive).name}\n")
        case other:
            sys.exit(f"this K3s stands in and does not know {other}")


main()
