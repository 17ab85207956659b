// SPDX-License-Identifier: GPL-2.0

//! HTTP over a Unix socket.

use std::io::{self, BufReader, ErrorKind, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Body, Error};

/// How long an answer may take: Podman holds one back while a container is being made.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest answer in bytes: some kilobytes for each container.
const MAX_ANSWER: u64 = 1 << 27;

/// Asks one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
}

impl Client {
    /// A client of the server at `socket`.
    pub(crate) fn new(socket: &Path) -> Self {
        let config = Config::builder()
            .proxy(None)
            // A connection that was kept may be one to a server that is no more.
            .max_idle_connections(0)
            .build();
        let agent = Agent::with_parts(config, Dial(socket.to_owned()), NoNames);
        Self { agent }
    }

    /// The answer to `GET path`; [`None`] if there is no such thing.
    pub(crate) fn find<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        match self.ask(path) {
            Err(Error::StatusCode(404)) => Ok(None),
            answer => Ok(Some(parse(answer?)?)),
        }
    }

    /// The answer to `GET path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        parse(self.ask(path)?)
    }

    fn ask(&self, path: &str) -> Result<Body, Error> {
        let request = self.agent.get(format!("http://engine{path}"));
        let request = request.config().timeout_global(Some(PATIENCE)).build();
        Ok(request.call()?.into_body())
    }

    /// The answer to `GET path`, which has to begin, and need not ever end.
    pub(crate) fn stream(&self, path: &str) -> anyhow::Result<impl Read + Send + 'static> {
        let request = self.agent.get(format!("http://engine{path}"));
        let request = request.config().timeout_recv_response(Some(PATIENCE));
        let answer = request.build().call()?;
        let body = answer.into_body().into_with_config();
        Ok(body.limit(u64::MAX).reader())
    }
}

fn parse<T: DeserializeOwned>(body: Body) -> anyhow::Result<T> {
    let reader = body.into_with_config().limit(MAX_ANSWER).reader();
    Ok(serde_json::from_reader(BufReader::new(reader))?)
}

/// Connects to a socket, whatever the address of a request is.
#[derive(Debug)]
struct Dial(PathBuf);

impl Connector for Dial {
    type Out = Socket;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Socket>, Error> {
        let config = details.config;
        Ok(Some(Socket {
            stream: UnixStream::connect(&self.0)?,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }))
    }
}

/// Looks up nothing.
#[derive(Debug)]
struct NoNames;

impl Resolver for NoNames {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        // The caller insists on an address.
        let mut addrs = self.empty();
        addrs.push(([127, 0, 0, 1], 80).into());
        Ok(addrs)
    }
}

/// A connection.
#[derive(Debug)]
struct Socket {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        self.stream.set_write_timeout(limit)?;
        let output = self.buffers.output().get(..amount).unwrap_or(&[]);
        self.stream
            .write_all(output)
            .map_err(|error| late(error, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        self.stream.set_read_timeout(limit)?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| late(error, &timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // None is kept.
        false
    }
}

fn late(error: io::Error, timeout: &NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => Error::Io(error),
    }
}
