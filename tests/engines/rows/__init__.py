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
    "docker": docker.Iptables,
    "docker-stock": docker.Stock,
    "libvirt": libvirt.BesideDocker,
    "runc-starts": starts.Runc,
    "libvirt-firewalld": libvirt.BesideFirewalld,
    "podman": podman.Nftables,
    "docker-firewalld": docker.Firewalld,
    "podman-firewalld": podman.Firewalld,
    "docker-no-iptables": docker.WithoutIptables,
    "docker-nftables": docker_nftables.Nftables,
    "docker-compose": compose.Compose,
    "docker-starts": starts.Docker,
    "podman-iptables": podman.Iptables,
    "podman-pod": podman.Pods,
    "cni": cni.Pods,
    "nftables": plain.Nft,
    "firewalld": firewalld_alone.Alone,
    "iptables-nft": plain.Iptables,
    "iptables-legacy": plain.Legacy,
    "podman-rootless": rootless.Rootless,
}
