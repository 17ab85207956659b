// SPDX-License-Identifier: GPL-2.0

//! Container engines, over their API sockets.

pub(crate) mod announce;
mod api;
pub(crate) mod follow;
mod http;
pub(crate) mod inventory;

use std::env;
use std::path::PathBuf;

use anyhow::{bail, Context as _};

use http::Client;
use inventory::Inventory;

const DOCKER: &str = "/var/run/docker.sock";
const PODMAN: &str = "/run/podman/podman.sock";
const SCHEME: &str = "unix://";

/// Where an engine listens.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    path: PathBuf,
    /// The user named it: it must be there.
    named: bool,
}

impl Endpoint {
    fn parse(text: &str) -> anyhow::Result<Self> {
        match text.strip_prefix(SCHEME) {
            Some(path) if path.starts_with('/') => Ok(Self {
                path: path.into(),
                named: true,
            }),
            _ => bail!("{text}: an engine's socket is named as unix:///PATH"),
        }
    }

    /// As a user names it.
    pub(crate) fn name(&self) -> String {
        format!("{SCHEME}{}", self.path.display())
    }

    fn client(&self) -> Client {
        Client::new(&self.path)
    }
}

/// The engines that `named` are, or else those at the places where they are by default, or where
/// DOCKER_HOST says that Docker is.
pub(crate) fn endpoints(named: &[String]) -> anyhow::Result<Vec<Endpoint>> {
    if !named.is_empty() {
        return named.iter().map(|text| Endpoint::parse(text)).collect();
    }
    let usual = |path: &str| Endpoint {
        path: path.into(),
        named: false,
    };
    let docker = match env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => Endpoint::parse(&host).context("DOCKER_HOST")?,
        _ => usual(DOCKER),
    };
    Ok(vec![docker, usual(PODMAN)])
}

/// What all engines know now. An engine that was not named need not be there, as long as any is.
pub(crate) fn read_all(endpoints: &[Endpoint]) -> anyhow::Result<Vec<Inventory>> {
    let mut inventories = Vec::new();
    let mut silent = Vec::new();
    for endpoint in endpoints {
        match Inventory::read(&endpoint.client()) {
            Ok(inventory) => inventories.push(inventory),
            Err(error) if endpoint.named => return Err(error.context(endpoint.name())),
            Err(error) => silent.push(format!("{}: {error:#}", endpoint.name())),
        }
    }
    if inventories.is_empty() {
        bail!(
            "no container engine answers, of which names could be learnt: {}",
            silent.join("; ")
        );
    }
    Ok(inventories)
}
