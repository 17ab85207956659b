// SPDX-License-Identifier: GPL-2.0

//! What one engine knows of containers and networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ctrfw_core::iface::IfPattern;
use ctrfw_core::value::Value as _;
use ipnet::IpNet;

use super::api;
use super::http::Client;
use crate::names::lookup::Found;
use crate::names::{Kind, Name};

/// How many containers a network namespace may be handed through.
const MAX_SHARED: usize = 8;

/// Where the addresses of containers are to be learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flavour {
    /// From its networks: they have an address before its container starts, and tell of it while the
    /// container is being started, when all that is asked of the container itself has to wait.
    #[default]
    Docker,
    /// From the containers, which wait, too.
    Podman,
}

/// All that is known, by ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    pub(super) flavour: Flavour,
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) networks: BTreeMap<String, Network>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Podman only
    pub(super) addresses: Vec<IpAddr>,
    /// The container whose network it uses
    pub(super) shares: Option<String>,
    /// It is in the host's network namespace.
    pub(super) on_host: bool,
}

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) subnets: Vec<IpNet>,
    pub(super) bridge: Option<String>,
    /// The addresses of each container; Docker only
    pub(super) endpoints: BTreeMap<String, Vec<IpAddr>>,
}

impl Container {
    pub(super) fn listed(container: &api::ListedContainer, flavour: Flavour) -> Self {
        // Others are those of legacy links, and have another slash in them.
        let mut names = container.names.iter().flatten();
        let name = names.find_map(|name| {
            let name = name.strip_prefix('/').unwrap_or(name);
            (!name.contains('/')).then(|| name.to_owned())
        });
        Self::new(
            name.unwrap_or_default(),
            container.labels.clone().unwrap_or_default(),
            &container.host_config,
            &container.network_settings,
            container.state == "running" && flavour == Flavour::Podman,
        )
    }

    fn inspected(container: &api::Container) -> Self {
        Self::new(
            container.name.trim_start_matches('/').to_owned(),
            container.config.labels.clone().unwrap_or_default(),
            &container.host_config,
            &container.network_settings,
            container.state.status == "running",
        )
    }

    fn new(
        name: String,
        labels: BTreeMap<String, String>,
        host: &api::HostConfig,
        network: &api::NetworkSettings,
        addresses: bool,
    ) -> Self {
        Self {
            name,
            labels,
            addresses: match addresses {
                true => network.addresses(),
                false => Vec::new(),
            },
            shares: host
                .network_mode
                .strip_prefix("container:")
                .map(str::to_owned),
            on_host: host.network_mode == "host" || network.has("host"),
        }
    }
}

impl From<&api::Network> for Network {
    fn from(network: &api::Network) -> Self {
        let options = network.options.as_ref();
        let bridge = options.and_then(|options| options.get("com.docker.network.bridge.name"));
        // As Docker names them itself
        let own = || Some(format!("br-{}", network.id.get(..12)?));
        let pools = network.ipam.config.iter().flatten();
        let endpoints = network.containers.iter().flatten();
        Self {
            name: network.name.clone(),
            subnets: pools.filter_map(|pool| pool.subnet.parse().ok()).collect(),
            // Whoever makes a network of another kind may give it this option, too.
            bridge: (network.driver == "bridge")
                .then(|| bridge.cloned().or_else(own))
                .flatten()
                .filter(|bridge| is_device(bridge)),
            endpoints: endpoints
                .map(|(id, endpoint)| (id.clone(), endpoint.addresses()))
                .collect(),
        }
    }
}

impl From<&api::PodmanNetwork> for Network {
    fn from(network: &api::PodmanNetwork) -> Self {
        let subnets = network.subnets.iter().flatten();
        let bridge = &network.network_interface;
        Self {
            name: network.name.clone(),
            subnets: subnets
                .filter_map(|subnet| subnet.subnet.parse().ok())
                .collect(),
            bridge: is_device(bridge).then(|| bridge.clone()),
            endpoints: BTreeMap::new(),
        }
    }
}

/// Whether it is the name of one device, and can be told in a table.
fn is_device(name: &str) -> bool {
    IfPattern::parse(name.as_bytes()).is_some() && !name.contains(['*', '"'])
}

impl Inventory {
    /// Asks an engine for everything.
    pub(crate) fn read(client: &Client) -> anyhow::Result<Self> {
        let version: api::Version = client.get("/version")?;
        let mut components = version.components.iter().flatten();
        let podman = components.any(|component| component.name.starts_with("Podman"));
        let mut inventory = Self {
            flavour: if podman {
                Flavour::Podman
            } else {
                Flavour::Docker
            },
            ..Self::default()
        };
        inventory.read_containers(client)?;
        inventory.read_networks(client)?;
        Ok(inventory)
    }

    pub(super) fn read_containers(&mut self, client: &Client) -> anyhow::Result<()> {
        let listed: Vec<api::ListedContainer> = client.get("/containers/json?all=1")?;
        let flavour = self.flavour;
        self.containers = listed
            .iter()
            .map(|container| (container.id.clone(), Container::listed(container, flavour)))
            .collect();
        Ok(())
    }

    /// Asks for one container, which waits while it is being started; it may be gone.
    pub(super) fn read_container(&mut self, client: &Client, id: &str) -> anyhow::Result<()> {
        self.containers.remove(id);
        let found: Option<api::Container> = client.find(&format!("/containers/{id}/json"))?;
        if let Some(container) = found {
            let inspected = Container::inspected(&container);
            self.containers.insert(container.id, inspected);
        }
        Ok(())
    }

    pub(super) fn read_networks(&mut self, client: &Client) -> anyhow::Result<()> {
        if self.flavour == Flavour::Podman {
            let networks: Vec<api::PodmanNetwork> = client.get("/v4.0.0/libpod/networks/json")?;
            let networks = networks.iter();
            self.networks = networks.map(|n| (n.id.clone(), n.into())).collect();
            return Ok(());
        }
        let listed: Vec<api::Network> = client.get("/networks")?;
        self.networks.clear();
        for network in listed {
            self.networks.insert(network.id.clone(), (&network).into());
            // What has no address range of its own has no containers with addresses either.
            if network.driver != "host" && network.driver != "null" {
                self.read_network(client, &network.id)?;
            }
        }
        Ok(())
    }

    /// Asks for one network, with its containers; it may be gone.
    pub(super) fn read_network(&mut self, client: &Client, id: &str) -> anyhow::Result<()> {
        self.networks.remove(id);
        let found: Option<api::Network> = client.find(&format!("/networks/{id}"))?;
        if let Some(network) = found {
            self.networks.insert(network.id.clone(), (&network).into());
        }
        Ok(())
    }

    /// Whether there is a container of this ID.
    pub(crate) fn has_container(&self, id: &str) -> bool {
        self.containers.contains_key(id)
    }

    /// Adds what `name` stands for here.
    pub(crate) fn find(&self, name: &Name, found: &mut Found) {
        match name.kind {
            Kind::Network => {
                let networks = self.networks.values();
                for network in networks.filter(|network| network.name == name.value) {
                    found.known = true;
                    found.nets.extend(&network.subnets);
                    found.bridges.extend(network.bridge.clone());
                }
            }
            Kind::Container => {
                self.find_containers(|container| container.name == name.value, found)
            }
            Kind::Label => {
                let (key, value) = match name.value.split_once('=') {
                    Some((key, value)) => (key, Some(value)),
                    None => (name.value.as_str(), None),
                };
                let fits = |container: &Container| {
                    let label = container.labels.get(key);
                    label.is_some_and(|label| value.is_none_or(|value| value == label))
                };
                self.find_containers(fits, found);
            }
        }
    }

    fn find_containers(&self, fits: impl Fn(&Container) -> bool, found: &mut Found) {
        for (id, container) in &self.containers {
            if fits(container) {
                found.known = true;
                let (id, container) = self.network_owner(id, container);
                found.on_host |= container.on_host;
                found.nets.extend(
                    self.addresses(id, container)
                        .filter(|address| !address.is_loopback())
                        .map(IpNet::from),
                );
            }
        }
    }

    /// The container whose network a container uses: mostly itself.
    fn network_owner<'a>(
        &'a self,
        id: &'a str,
        container: &'a Container,
    ) -> (&'a str, &'a Container) {
        let mut owner = (id, container);
        for _ in 0..MAX_SHARED {
            let Some(other) = &owner.1.shares else {
                break;
            };
            let mut all = self.containers.iter();
            match all.find(|(id, container)| *id == other || container.name == *other) {
                Some((id, container)) => owner = (id, container),
                None => break,
            }
        }
        owner
    }

    fn addresses<'a>(
        &'a self,
        id: &'a str,
        container: &'a Container,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let networks = self.networks.values();
        let endpoints = networks.filter_map(move |network| network.endpoints.get(id));
        endpoints.flatten().chain(&container.addresses).copied()
    }
}
