// SPDX-License-Identifier: GPL-2.0

//! What an engine knows, as it changes.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;

use super::announce::Announced;
use super::api::Event;
use super::http::Client;
use super::inventory::{Container, Flavour, Inventory};
use super::Endpoint;
use crate::output::printable;

/// The longest event in bytes: the labels of a container are in it.
const MAX_EVENT: u64 = 1 << 20;
/// How many events are read while the engine is asked about one.
const MAX_WAITING: usize = 64;
/// How long to wait before an engine is called again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often Docker is asked for everything though all is known: an event may have got lost.
const REVIEW: Duration = Duration::from_secs(30);
/// Events that are so much older than the call are told again: the engine may begin to listen for us
/// only after it has answered.
const OVERLAP: Duration = Duration::from_secs(2);

/// What is told of an engine.
#[derive(Debug)]
pub(crate) enum News {
    /// What it knows now, and why that has changed.
    Known(Inventory, Cause),
    /// It does not answer, or no more.
    Lost(String),
}

/// Why something has changed.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// In words
    pub(crate) text: String,
    /// When the engine says that it was, in nanoseconds since 1970; [`None`] if it was asked.
    pub(crate) time: Option<u64>,
}

/// Tells `tell` of all that changes at `endpoint`, for as long as it listens.
pub(crate) fn follow<T: Send + 'static>(
    endpoint: &Endpoint,
    announced: Announced,
    tell: Sender<T>,
    wrap: impl Fn(News) -> T + Send + 'static,
) {
    let client = endpoint.client();
    thread::spawn(move || {
        let mut pause = FIRST_PAUSE;
        // Once is enough, until it has been there.
        let mut told = false;
        loop {
            let mut there = false;
            let ended = listen(&client, &announced, &mut |inventory, cause| {
                there = true;
                tell.send(wrap(News::Known(inventory, cause))).is_ok()
            });
            let Err(error) = ended else {
                // Nobody is there any more who wants to know.
                return;
            };
            if there {
                told = false;
                pause = FIRST_PAUSE;
            }
            let lost = News::Lost(format!("{error:#}"));
            if !told && tell.send(wrap(lost)).is_err() {
                return;
            }
            told = true;
            thread::sleep(pause);
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    });
}

/// Follows an engine until it goes, which is an error, or nobody wants to know any more.
fn listen(
    client: &Client,
    announced: &Announced,
    tell: &mut impl FnMut(Inventory, Cause) -> bool,
) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let since = now.saturating_sub(OVERLAP).as_secs();
    // First the events, then the lists: nothing can happen between the two.
    let events = client.stream(&format!("/events?since={since}"))?;
    let mut inventory = Inventory::read(client)?;
    let cause = Cause {
        text: "the engine was asked".to_owned(),
        time: None,
    };
    if !tell(inventory.clone(), cause) {
        return Ok(());
    }
    let events = read(events);
    let mut stale = false;
    let mut reviewed = Instant::now();
    loop {
        let wait = match (stale, inventory.flavour) {
            (true, _) => LONGEST_PAUSE,
            (false, Flavour::Docker) => REVIEW.saturating_sub(reviewed.elapsed()),
            // While it makes a container it lets others wait, and events would wait with them.
            (false, Flavour::Podman) => Duration::MAX,
        };
        let event = match events.recv_timeout(wait) {
            Ok(event) => event?,
            Err(RecvTimeoutError::Disconnected) => bail!("it ended the connection"),
            Err(RecvTimeoutError::Timeout) => {
                reviewed = Instant::now();
                let Ok(all) = Inventory::read(client) else {
                    stale = true;
                    continue;
                };
                if !stale && all == inventory {
                    continue;
                }
                stale = false;
                inventory = all;
                let cause = Cause {
                    text: "the engine was asked again".to_owned(),
                    time: None,
                };
                if !tell(inventory.clone(), cause) {
                    return Ok(());
                }
                continue;
            }
        };
        let before = inventory.clone();
        inventory.lose(&event);
        let mut next = inventory.clone();
        let asked = match stale {
            true => Inventory::read(client).map(|all| next = all),
            false => take(client, &mut next, &event),
        };
        // An engine that ends answers no more, and still tells of the end of its containers.
        stale = asked.is_err();
        if !stale {
            inventory = next;
        }
        // What its engine tells of a container is newer than what was announced.
        let forgotten = event.settles() && announced.forget(&event.actor.id, event.time);
        if before != inventory || forgotten {
            let cause = Cause {
                text: event.to_string(),
                time: Some(event.time),
            };
            if !tell(inventory.clone(), cause) {
                return Ok(());
            }
        }
    }
}

/// The events that come, each a line, and why there are no more; nothing if they have just ended.
fn read(stream: impl Read + Send + 'static) -> Receiver<anyhow::Result<Event>> {
    let (sender, events) = mpsc::sync_channel(MAX_WAITING);
    let mut stream = BufReader::new(stream);
    let mut next = move || -> anyhow::Result<Option<Event>> {
        let mut line = Vec::new();
        let length = (&mut stream).take(MAX_EVENT).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(None);
        }
        if u64::try_from(length) == Ok(MAX_EVENT) {
            bail!("an event of more than {MAX_EVENT} bytes");
        }
        Ok(Some(serde_json::from_slice(&line)?))
    };
    thread::spawn(move || {
        while let Some(event) = next().transpose() {
            let last = event.is_err();
            if sender.send(event).is_err() || last {
                return;
            }
        }
    });
    events
}

/// Learns what an event may have changed.
fn take(client: &Client, inventory: &mut Inventory, event: &Event) -> anyhow::Result<()> {
    let id = event.actor.id.as_str();
    let container = match inventory.flavour {
        // The network's ID, and the container among the attributes
        Flavour::Docker => event.attribute("container"),
        Flavour::Podman => id,
    };
    match (
        event.kind.as_str(),
        event.action.as_str(),
        inventory.flavour,
    ) {
        ("network", "connect" | "disconnect", Flavour::Docker) => {
            inventory.read_network(client, id)?;
            if !inventory.containers.contains_key(container) {
                inventory.read_containers(client)?;
            }
        }
        ("network", "connect" | "disconnect", Flavour::Podman) => {
            inventory.read_container(client, container)?;
        }
        ("network", ..) => inventory.read_networks(client)?,
        (
            "container",
            "create" | "start" | "die" | "rename" | "update" | "destroy",
            Flavour::Docker,
        ) => inventory.read_containers(client)?,
        ("container", "create", Flavour::Podman) => {
            let mut labels = event.actor.attributes.clone().unwrap_or_default();
            // Those are the engine's; should there be such labels, they will be told of later.
            for other in ["image", "name", "podId"] {
                labels.remove(other);
            }
            let name = event.attribute("name").to_owned();
            // While it is being made, all that is asked of it waits.
            inventory
                .containers
                .entry(id.to_owned())
                .or_insert_with(|| Container {
                    name,
                    labels,
                    ..Container::default()
                });
        }
        ("container", "die" | "died" | "cleanup", Flavour::Podman) => {
            if let Some(container) = inventory.containers.get_mut(id) {
                container.addresses.clear();
            }
        }
        ("container", "remove" | "destroy", Flavour::Podman) => {
            inventory.containers.remove(id);
        }
        ("container", "init" | "start" | "rename" | "update" | "restart", Flavour::Podman) => {
            inventory.read_container(client, id)?;
        }
        _ => {}
    }
    Ok(())
}

impl Inventory {
    /// Takes away what is gone by the event's own account.
    fn lose(&mut self, event: &Event) {
        if (event.kind.as_str(), event.action.as_str()) == ("network", "disconnect") {
            if let Some(network) = self.networks.get_mut(&event.actor.id) {
                network.endpoints.remove(event.attribute("container"));
            }
        }
    }
}

impl Event {
    /// Whether a container's addresses, or that it has none any more, are known with it.
    fn settles(&self) -> bool {
        let known = ["init", "start", "die", "died", "cleanup", "remove"];
        self.kind == "container" && known.contains(&self.action.as_str())
    }

    fn attribute(&self, key: &str) -> &str {
        let attributes = self.actor.attributes.as_ref();
        attributes
            .and_then(|attributes| attributes.get(key))
            .map_or("", String::as_str)
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", printable(&self.kind), printable(&self.action))?;
        match self.attribute("name") {
            "" => Ok(()),
            name => write!(f, " {}", printable(name)),
        }
    }
}
