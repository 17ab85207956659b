# SPDX-License-Identifier: GPL-2.0
"""All rows, by the name that CTRFW_TEST_ENGINE gives."""

from engines.row import Row
from engines.rows import (
    cni,
    compose,
    docker,
    docker_nftables,
    firewalld_alone,
    libvirt,
    plain,
    podman,
    rootless,
    starts,
)

# Those that take longest come first.
ROWS: dict[str, type[Row]] = {
    "docker-starts": starts.Docker,
    "runc-starts": starts.Runc,
    "docker": docker.Iptables,
    "docker-firewalld": docker.Firewalld,
    "podman-firewalld": podman.Firewalld,
    "docker-no-iptables": docker.WithoutIptables,
    "docker-nftables": docker_nftables.Nftables,
    "libvirt": libvirt.BesideDocker,
    "podman": podman.Nftables,
    "podman-iptables": podman.Iptables,
    "podman-pod": podman.Pods,
    "docker-compose": compose.Compose,
    "firewalld": firewalld_alone.Alone,
    "cni": cni.Pods,
    "nftables": plain.Nft,
    "iptables-nft": plain.Iptables,
    "iptables-legacy": plain.Legacy,
    "podman-rootless": rootless.Rootless,
}
