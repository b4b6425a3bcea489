//! `healthcheck`: asks the admin listener of a running proxy how it is, for images without a shell.

use super::{FAILED, INVALID, OK, listed, print, print_error};
use crate::config::{Config, quantity};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// More than the readiness of many issuers takes.
const MAX_ANSWER: u64 = 256 << 10;

/// Which proxy to ask, and what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file that it runs with.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ask whether it is ready for requests (`/readyz`), not only whether it runs (`/healthz`).
    #[arg(long)]
    ready: bool,
    /// How long the answer may take.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = quantity::duration)]
    timeout: Duration,
}

/// Asks once.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let config = match Config::load(&arguments.config) {
        Ok((config, _)) => config,
        Err(problems) => {
            print_error(&listed(&problems));
            return INVALID;
        }
    };
    let address = reachable(config.admin);
    let path = if arguments.ready { "/readyz" } else { "/healthz" };
    match ask(address, path, arguments.timeout) {
        Ok(answer) if answer.ok => {
            print(&answer.body);
            OK
        }
        Ok(answer) => {
            print_error(&format!(
                "http://{address}{path} answers {}\n{}",
                answer.status, answer.body
            ));
            FAILED
        }
        Err(error) => {
            print_error(&format!("http://{address}{path}: {error}\n"));
            FAILED
        }
    }
}

/// Where a listener is reached from its own host.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

struct Answer {
    ok: bool,
    /// Code and phrase.
    status: String,
    body: String,
}

fn ask(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    let deadline = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_write_timeout(Some(timeout))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no whole answer in time"));
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut chunk)?;
        read.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if count == 0 || read.len() as u64 > MAX_ANSWER {
            break;
        }
    }
    let text = String::from_utf8_lossy(&read);
    let no_http = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer is not HTTP; is this the admin listener?",
        )
    };
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(no_http)?;
    let line = head.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.1 ").ok_or_else(no_http)?;
    Ok(Answer {
        ok: status.starts_with("200 "),
        status: status.to_owned(),
        body: body.to_owned(),
    })
}
