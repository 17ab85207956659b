// SPDX-License-Identifier: GPL-2.0

//! The module's files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};

/// `/proc/ctrfw`
pub(crate) struct Module(PathBuf);

impl Module {
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The contents of one of its files.
    pub(crate) fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = self.0.join(name);
        let text = fs::read(&path).map_err(|error| self.explain(&path, &error))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes a table in one transaction; the inner error is why the module refused it.
    pub(crate) fn load(&self, text: &[u8], append: bool) -> anyhow::Result<Result<(), String>> {
        if append && text.is_empty() {
            // The module does not take that for a transaction, and an older error would show.
            return Ok(Ok(()));
        }
        let path = self.0.join("rules");
        let mut file = OpenOptions::new()
            .write(true)
            .append(append)
            .truncate(!append)
            .open(&path)
            .map_err(|error| self.explain(&path, &error))?;
        let written = file.write_all(text);
        // Closing commits, and cannot tell of a failure: the status file does.
        drop(file);
        let status = self.read("status")?;
        let last = status
            .lines()
            .find_map(|l| l.strip_prefix("last_error rules "));
        match (written, last) {
            (_, Some(last)) => Ok(Err(last.to_owned())),
            (Err(error), None) => bail!("{}: {error}", path.display()),
            (Ok(()), None) => Ok(Ok(())),
        }
    }

    fn explain(&self, path: &Path, error: &io::Error) -> anyhow::Error {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound => {
                anyhow!("{path}: the module is not loaded (modprobe ctrfw)")
            }
            io::ErrorKind::PermissionDenied => anyhow!(
                "{path}: not permitted; it takes root with CAP_NET_ADMIN in the host's own user and \
                 network namespaces, which no container has"
            ),
            _ => anyhow!("{path}: {error}"),
        }
    }
}
