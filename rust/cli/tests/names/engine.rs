// SPDX-License-Identifier: GPL-2.0

//! An engine's API over a Unix socket: answers that Docker 26.1.5 and Podman 5.4.2 gave, and events.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{json, Value};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub const WEB: &str = "210d8bb42ef4a1cd9c3261b56b6339a676abbf371dbdf3c94bcd6fbac8f53a96";
pub const OTHER: &str = "e80077e3a57e7cb5244be1f1f180b93ca4ebb1b0dbcbe608b53e90d7bd6b8bf4";
pub const BRIDGE: &str = "a23f2d8b570012f7a9feb3ac5a7c50d0da1cd1fd3faa53e40fbf6a2b5e3e2b56";
pub const BACK: &str = "d1e66061ff8053905fe68f71f6d735fba27228c797a58ab813ff0ba09f94f17b";
pub const HOST: &str = "8fdaf967439809704ca90bb4aaab8a9771630c5dee3df5ae7ae6bd49fd7aa009";

type Answers = Arc<Mutex<BTreeMap<String, Value>>>;
type Listeners = Arc<Mutex<Vec<Sender<Value>>>>;

/// A server; it goes with its folder.
pub struct Engine {
    folder: TempDir,
    answers: Answers,
    listeners: Listeners,
    came: Receiver<()>,
}

impl Engine {
    /// Docker, with nothing but its own networks.
    pub fn docker() -> Self {
        let engine = Self::new("Engine");
        engine.answer("/containers/json?all=1", json!([]));
        engine.networks(&[network(
            BRIDGE,
            "bridge",
            "bridge",
            &["172.17.0.0/16"],
            json!({}),
        )]);
        engine
    }

    /// Podman, likewise.
    pub fn podman() -> Self {
        let engine = Self::new("Podman Engine");
        engine.answer("/containers/json?all=1", json!([]));
        engine.answer(
            "/v4.0.0/libpod/networks/json",
            json!([{
                "name": "podman", "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
                "driver": "bridge", "network_interface": "podman0",
                "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}],
                "ipv6_enabled": false, "internal": false, "dns_enabled": false,
            }]),
        );
        engine
    }

    fn new(component: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (tell, came) = channel();
        let engine = Self {
            answers: Answers::default(),
            listeners: Listeners::default(),
            folder,
            came,
        };
        engine.answer("/version", json!({"Components": [{"Name": component}]}));
        let listener = UnixListener::bind(engine.path()).unwrap();
        let (answers, listeners) = (engine.answers.clone(), engine.listeners.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, listeners, tell) = (answers.clone(), listeners.clone(), tell.clone());
                thread::spawn(move || serve(stream.unwrap(), &answers, &listeners, &tell));
            }
        });
        engine
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// As a user names it.
    pub fn name(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    /// What is answered from now on; null is a failure.
    pub fn answer(&self, path: &str, value: Value) {
        self.answers.lock().unwrap().insert(path.to_owned(), value);
    }

    /// The networks, and what is answered if one is asked for.
    pub fn networks(&self, networks: &[Value]) {
        for network in networks {
            let path = format!("/networks/{}", network["Id"].as_str().unwrap());
            self.answer(&path, network.clone());
        }
        // The list tells of no containers.
        let listed = networks.iter().map(|network| {
            let mut network = network.clone();
            network["Containers"] = json!({});
            network
        });
        self.answer("/networks", listed.collect());
    }

    /// Waits until somebody listens for events.
    pub fn wait(&self) {
        self.came.recv_timeout(PATIENCE).unwrap();
    }

    /// Tells all who listen.
    pub fn event(&self, kind: &str, action: &str, id: &str, attributes: Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let event = json!({
            "Type": kind, "Action": action, "scope": "local",
            "timeNano": u64::try_from(now.as_nanos()).unwrap(),
            "Actor": {"ID": id, "Attributes": attributes},
        });
        for listener in self.listeners.lock().unwrap().iter() {
            listener.send(event.clone()).unwrap();
        }
    }

    /// Ends all connections.
    pub fn hang_up(&self) {
        self.listeners.lock().unwrap().clear();
    }

    /// No connection can be made any more.
    pub fn deafen(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }
}

fn serve(mut stream: UnixStream, answers: &Answers, listeners: &Listeners, came: &Sender<()>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    while !lines.next().unwrap().unwrap().is_empty() {}
    if path.starts_with("/events?since=") {
        let (sender, events) = channel();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        listeners.lock().unwrap().push(sender);
        came.send(()).unwrap_or_default();
        for event in events {
            // Docker and Podman end an event by a newline.
            let event = format!("{event}\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            if stream.write_all(chunk.as_bytes()).is_err() {
                return;
            }
        }
        stream.write_all(b"0\r\n\r\n").unwrap_or_default();
        return;
    }
    let (status, body) = match answers.lock().unwrap().get(&path) {
        Some(Value::Null) => ("500 Internal Server Error", String::new()),
        Some(answer) => ("200 OK", answer.to_string()),
        None => ("404 Not Found", json!({"message": "not found"}).to_string()),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).unwrap_or_default();
}

/// A container as Docker lists it; it tells of addresses only once it runs.
pub fn container(id: &str, name: &str, state: &str, labels: Value, networks: Value) -> Value {
    let mode = match networks.as_object().and_then(|all| all.keys().next()) {
        Some(network) => network.clone(),
        None => format!("container:{WEB}"),
    };
    json!({
        "Id": id, "Names": [format!("/{name}"), "/x/alias"], "Image": "tiny", "Created": 1_795_522_010,
        "Ports": [], "Labels": labels, "State": state, "Status": "Up 1 second",
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": networks}, "Mounts": [],
    })
}

/// A container in a list, in one network.
pub fn endpoint(address: &str, address6: &str) -> Value {
    json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "02:42:ac:11:00:02",
        "IPAddress": address, "IPPrefixLen": 16, "GlobalIPv6Address": address6, "DNSNames": null,
    })
}

/// A network as Docker tells of it if it is asked for it alone.
pub fn network(id: &str, name: &str, driver: &str, subnets: &[&str], containers: Value) -> Value {
    let pools: Vec<Value> = subnets
        .iter()
        .map(|subnet| json!({"Subnet": subnet}))
        .collect();
    let options = match name {
        "bridge" => json!({
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.name": "docker0",
        }),
        _ => json!({}),
    };
    json!({
        "Name": name, "Id": id, "Scope": "local", "Driver": driver, "EnableIPv6": subnets.len() > 1,
        "IPAM": {"Driver": "default", "Options": null, "Config": pools},
        "ConfigFrom": {"Network": ""}, "Containers": containers, "Options": options, "Labels": {},
    })
}

/// A container in a network that was asked for.
pub fn member(name: &str, address: &str, address6: &str) -> Value {
    json!({
        "Name": name, "EndpointID": "d0152dcf61bf", "MacAddress": "02:42:ac:11:00:02",
        "IPv4Address": address, "IPv6Address": address6,
    })
}

/// The module's files, with these rules and this last error.
pub fn module(folder: &Path, rules: &str, last_error: &str) {
    std::fs::write(folder.join("rules"), rules).unwrap();
    let text = format!("version 0.1.0\nmode enforce\ngeneration 1\nlast_error {last_error}\n");
    std::fs::write(folder.join("status"), text).unwrap();
}
