// SPDX-License-Identifier: GPL-2.0

//! What engines answer: the parts of Docker's API that are read, which Podman has too, and Podman's own
//! list of networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

/// `null` and what is left out are the same as nothing.
type Maybe<T> = Option<T>;

/// Of `/version`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    #[serde(default)]
    pub(super) components: Maybe<Vec<Component>>,
}

/// Of `/version`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Component {
    pub(super) name: String,
}

/// Of `/containers/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedContainer {
    pub(super) id: String,
    #[serde(default)]
    pub(super) names: Maybe<Vec<String>>,
    #[serde(default)]
    pub(super) labels: Maybe<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) host_config: HostConfig,
    #[serde(default)]
    pub(super) network_settings: NetworkSettings,
}

/// Of `/containers/ID/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) config: ContainerConfig,
    #[serde(default)]
    pub(super) state: ContainerState,
    #[serde(default)]
    pub(super) host_config: HostConfig,
    #[serde(default)]
    pub(super) network_settings: NetworkSettings,
}

/// Of a container
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerConfig {
    #[serde(default)]
    pub(super) labels: Maybe<BTreeMap<String, String>>,
}

/// Of a container
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerState {
    #[serde(default)]
    pub(super) status: String,
}

/// Of a container
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default)]
    pub(super) network_mode: String,
}

/// Of a container
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    #[serde(default)]
    networks: Maybe<BTreeMap<String, EndpointSettings>>,
}

/// Of a container, for each of its networks
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EndpointSettings {
    #[serde(default, rename = "IPAddress")]
    address: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    address6: String,
}

impl NetworkSettings {
    /// Whether it is told that there is this network.
    pub(super) fn has(&self, network: &str) -> bool {
        let networks = self.networks.as_ref();
        networks.is_some_and(|networks| networks.contains_key(network))
    }

    /// The addresses in all networks.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let networks = self.networks.iter().flat_map(BTreeMap::values);
        networks
            .flat_map(|network| [&network.address, &network.address6])
            .filter_map(|address| address.parse().ok())
            .collect()
    }
}

/// Of `/networks` and `/networks/ID`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Network {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) driver: String,
    #[serde(default, rename = "IPAM")]
    pub(super) ipam: Ipam,
    #[serde(default)]
    pub(super) options: Maybe<BTreeMap<String, String>>,
    /// Only where one network is asked for
    #[serde(default)]
    pub(super) containers: Maybe<BTreeMap<String, Endpoint>>,
}

/// Of a network
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ipam {
    #[serde(default)]
    pub(super) config: Maybe<Vec<Pool>>,
}

/// Of a network
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pool {
    #[serde(default)]
    pub(super) subnet: String,
}

/// A container in a network
#[derive(Debug, Deserialize)]
pub(super) struct Endpoint {
    /// Each with the length of its network's prefix
    #[serde(default, rename = "IPv4Address")]
    address: String,
    #[serde(default, rename = "IPv6Address")]
    address6: String,
}

impl Endpoint {
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let addresses = [&self.address, &self.address6].into_iter();
        addresses
            .filter_map(|text| text.split('/').next()?.parse().ok())
            .collect()
    }
}

/// Of Podman's `/libpod/networks/json`
#[derive(Debug, Deserialize)]
pub(super) struct PodmanNetwork {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) network_interface: String,
    #[serde(default)]
    pub(super) subnets: Maybe<Vec<PodmanSubnet>>,
}

/// Of a network of Podman
#[derive(Debug, Deserialize)]
pub(super) struct PodmanSubnet {
    pub(super) subnet: String,
}

/// Of `/events`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Event {
    #[serde(default, rename = "Type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) action: String,
    #[serde(default)]
    pub(super) actor: Actor,
    /// Nanoseconds since 1970
    #[serde(default, rename = "timeNano")]
    pub(super) time: u64,
}

/// Of an event
#[derive(Debug, Default, Deserialize)]
pub(super) struct Actor {
    #[serde(default, rename = "ID")]
    pub(super) id: String,
    /// Names, and the labels of a container
    #[serde(default, rename = "Attributes")]
    pub(super) attributes: Maybe<BTreeMap<String, String>>,
}
