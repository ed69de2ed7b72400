#!/usr/bin/python3
"""Fake K3s: prints a version, runs as a service, writes a kubeconfig, lets agents join with a token."""

# ruff: noqa: S104, SIM115, T201 - a separate program in a node without a network

import os
import re
import signal
import socket
import sys
from pathlib import Path

VERSION = "@VERSION@"
CONFIG = Path("/etc/rancher/k3s/config.yaml")
KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
KUBECONFIG_TEXT = """apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: default, user: {token: kubeconfig-secret}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
"""


def setting(name):
    match = re.search(rf"^{name}: (.*)$", CONFIG.read_text(), re.MULTILINE)
    return match[1].strip('"') if match else ""


def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"])
        notify.send(b"READY=1")


def server():
    token = Path(setting("token-file")).read_text().strip()
    mode = int(setting("write-kubeconfig-mode"), 8)
    os.umask(0)
    with os.fdopen(os.open(KUBECONFIG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as out:
        out.write(KUBECONFIG_TEXT)
    with socket.create_server(("0.0.0.0", 6443)) as listening:
        ready()
        while True:
            connection, _ = listening.accept()
            with connection:
                received = connection.makefile().readline().strip()
                folder = Path("/var/lib/rancher/k3s")
                folder.mkdir(parents=True, exist_ok=True)
                if received == token:
                    (folder / "joined").open("a").write("agent\n")
                    connection.sendall(b"welcome\n")


def agent():
    host, port = setting("server").removeprefix("https://").split(":")
    token = Path(setting("token-file")).read_text()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(token.encode())
        if connection.makefile().readline() != "welcome\n":
            sys.exit("the server rejected this token")
        ready()
        connection.recv(1)
    signal.pause()


def main():
    match [Path(sys.argv[0]).name, *sys.argv[1:]]:
        case [_, "--version"]:
            print(f"k3s version {VERSION} (fake)\ngo version go1.24.6")
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
            sys.exit(f"not supported by this fake K3s: {other}")


main()
