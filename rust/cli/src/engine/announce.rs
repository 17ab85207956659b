// SPDX-License-Identifier: GPL-2.0

//! Addresses of containers that are told before they start, by a hook of the OCI runtime: Podman itself
//! tells of them only afterwards.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{bail, Context as _};
use serde::{Deserialize, Serialize};

use super::inventory::Inventory;

/// How long a hook waits: meanwhile the container does not start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The longest announcement, in bytes.
const MAX_LENGTH: u64 = 1 << 16;
/// How long an announcement holds of which the engine says nothing, in nanoseconds: what never started must
/// not keep an address.
const VALIDITY: u64 = 60_000_000_000;
const DONE: &[u8] = b"done\n";

/// What a hook says of a container that is about to start.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Announcement {
    /// Its ID
    pub(crate) id: String,
    /// The addresses in its network namespace
    pub(crate) addresses: Vec<IpAddr>,
}

/// By container: when it was said, in nanoseconds since 1970, and what
type ById = BTreeMap<String, (u64, Vec<IpAddr>)>;

/// The containers of which that was said, and nothing by their engine yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announced(Arc<Mutex<ById>>);

impl Announced {
    /// What still holds
    fn lock(&self, now: u64) -> MutexGuard<'_, ById> {
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        announced.retain(|_, (then, _)| now.saturating_sub(*then) < VALIDITY);
        announced
    }

    /// Notes an announcement that comes now.
    pub(crate) fn add(&self, announcement: Announcement) {
        self.add_at(now(), announcement);
    }

    fn add_at(&self, now: u64, announcement: Announcement) {
        let Announcement { id, addresses } = announcement;
        self.lock(now).insert(id, (now, addresses));
    }

    /// Forgets what was announced of a container before its engine told what it is since `time`, in
    /// nanoseconds since 1970; whether there was something.
    pub(super) fn forget(&self, id: &str, time: u64) -> bool {
        let mut announced = self.lock(now());
        let older = |(then, _): &(u64, Vec<IpAddr>)| *then <= time;
        announced.get(id).is_some_and(older) && announced.remove(id).is_some()
    }

    /// Adds to an inventory what was announced.
    pub(crate) fn complete(&self, inventory: &mut Inventory) {
        for (id, (_, addresses)) in self.lock(now()).iter() {
            if let Some(container) = inventory.containers.get_mut(id) {
                if container.addresses.is_empty() {
                    container.addresses.clone_from(addresses);
                }
            }
        }
    }
}

/// Nanoseconds since 1970
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// A hook that waits for its container to be known in the table.
#[derive(Debug)]
pub(crate) struct Waiting(UnixStream);

impl Waiting {
    /// Lets it go.
    pub(crate) fn done(mut self) {
        // If it does not wait any more, so be it.
        self.0.write_all(DONE).unwrap_or_default();
    }
}

/// Takes announcements at `path`, where only root can reach it.
pub(crate) fn listen(
    path: &Path,
    tell: impl Fn(Announcement, Waiting) -> bool + Send + 'static,
) -> anyhow::Result<()> {
    let place = || path.display().to_string();
    if let Some(folder) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).with_context(place)?;
    }
    match fs::symlink_metadata(path) {
        // One that somebody left; whoever still listens there is not heard any more.
        Ok(file) if file.file_type().is_socket() => fs::remove_file(path).with_context(place)?,
        Ok(_) => bail!("{}: there is something else than a socket", place()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(place),
    }
    let listener = UnixListener::bind(path).with_context(place)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(place)?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok((announcement, stream)) = stream.map_err(Into::into).and_then(take) else {
                continue;
            };
            if !tell(announcement, Waiting(stream)) {
                return;
            }
        }
    });
    Ok(())
}

fn take(stream: UnixStream) -> anyhow::Result<(Announcement, UnixStream)> {
    // A hook says at once all that it has to say.
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new((&stream).take(MAX_LENGTH)).read_line(&mut line)?;
    Ok((serde_json::from_str(&line)?, stream))
}

/// Announces a container at `path`, and waits until the table knows it.
pub(crate) fn announce(path: &Path, announcement: &Announcement) -> anyhow::Result<()> {
    let place = || path.display().to_string();
    let mut stream = UnixStream::connect(path).with_context(place)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", serde_json::to_string(announcement)?)?;
    let mut answer = Vec::new();
    let read = stream.take(MAX_LENGTH).read_to_end(&mut answer);
    if read.is_err() || answer != DONE {
        bail!("{}: the container is not known in the table", place());
    }
    Ok(())
}

/// The addresses in the network namespace of a process, but for those of the loopback device and those that
/// are good on one link only; none if it is the host's.
pub(crate) fn addresses_of(pid: u32) -> anyhow::Result<Vec<IpAddr>> {
    let inode = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/net")).map(|file| file.ino());
    if inode(&pid.to_string())? == inode("1")? {
        return Ok(Vec::new());
    }
    let trie = fs::read_to_string(format!("/proc/{pid}/net/fib_trie"))?;
    // There is none without IPv6.
    let inet6 = fs::read_to_string(format!("/proc/{pid}/net/if_inet6")).unwrap_or_default();
    let mut addresses: Vec<IpAddr> = local(&trie).map(IpAddr::from).collect();
    addresses.extend(global(&inet6).map(IpAddr::from));
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

/// The host's own addresses in `/proc/net/fib_trie`.
fn local(trie: &str) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let lines = trie.lines().zip(trie.lines().skip(1));
    lines
        .filter(|(_, kind)| kind.trim() == "/32 host LOCAL")
        .filter_map(|(leaf, _)| leaf.trim().strip_prefix("|-- ")?.parse().ok())
        .filter(|address: &Ipv4Addr| !address.is_loopback() && !address.is_link_local())
}

/// The addresses in `/proc/net/if_inet6`.
fn global(inet6: &str) -> impl Iterator<Item = Ipv6Addr> + '_ {
    let digits = inet6.lines().filter_map(|line| line.split(' ').next());
    digits
        .filter_map(|digits| u128::from_str_radix(digits, 16).ok())
        .map(Ipv6Addr::from_bits)
        .filter(|address| !address.is_loopback() && !address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_namespace() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    \x20    +-- 10.88.0.0/16 2 0 1\n           |-- 10.88.0.0\n              /16 link UNICAST\n\
                    \x20             |-- 10.88.0.2\n                 /32 host LOCAL\n\
                    \x20          |-- 10.88.255.255\n              /32 link BROADCAST\n\
                    \x20       +-- 127.0.0.0/8 2 0 2\n           |-- 127.0.0.0\n              /8 host LOCAL\n\
                    \x20          |-- 127.0.0.1\n              /32 host LOCAL\n";
        assert_eq!(
            local(trie).collect::<Vec<_>>(),
            [Ipv4Addr::new(10, 88, 0, 2)]
        );
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe80000000000000d030f8fffe78ef3d 02 40 20 80     eth0\n\
                     fd000001000000000000000000000003 02 40 00 80     eth0\n";
        let expected = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3);
        assert_eq!(global(inet6).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn older_announcements_are_forgotten() {
        let announced = Announced::default();
        announced.add(Announcement {
            id: "a".to_owned(),
            addresses: Vec::new(),
        });
        assert!(!announced.forget("a", 1), "what is older says nothing");
        assert!(!announced.forget("b", u64::MAX));
        assert!(announced.forget("a", u64::MAX));
        assert!(!announced.forget("a", u64::MAX));
    }

    #[test]
    fn announcements_do_not_hold_for_ever() {
        for (ago, holds) in [(VALIDITY / 2, true), (VALIDITY, false)] {
            let announced = Announced::default();
            let announcement = Announcement {
                id: "a".to_owned(),
                addresses: Vec::new(),
            };
            announced.add_at(now() - ago, announcement);
            assert_eq!(announced.forget("a", u64::MAX), holds, "{ago}");
        }
    }
}
