//! Turns the document into the configuration, collecting every problem.

use super::document::{AuditDocument, CredentialsDocument, Document, FlyteDocument, LimitsDocument, Placed};
use super::{
    Audit, AuditOutput, Config, Credentials, Flyte, Limits, hops, issuers, listeners, load_balancer, policy, quantity,
    secrets, tracing, upstream,
};
use crate::document;
use crate::issuer::{IssuerSettings, TokenLimits};
use crate::model::problem::{Problem, Severity};
use crate::model::ratio::Ratio;
use http::HeaderName;
use serde_saphyr::Location;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_hours(1);
const GIB: u64 = 1 << 30;

/// Flyte's clients ping this often without calls in flight; a shorter idle time would cut them off.
const CLIENT_PING: Duration = Duration::from_secs(30);

pub(super) fn check(path: &Path, text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let document: Document = document::parse(path, text)?;
    let mut check = Check::new(path, text);
    let config = check.config(&document);
    check.problems.sort_by_key(|problem| (problem.line, problem.column));
    if check.problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(check.problems);
    }
    Ok((config, check.problems))
}

/// Collects problems. Checks that fail return a stand-in, so that the next ones can go on; the configuration is then
/// thrown away.
pub(super) struct Check<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn new(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
        }
    }

    pub(super) fn error(&mut self, place: Location, message: impl Into<String>) {
        self.problems
            .push(document::problem_at(self.file, self.text, place, message));
    }

    /// An error that does not show the line, which may hold a secret.
    pub(super) fn error_unseen(&mut self, place: Location, message: impl Into<String>) {
        self.problems
            .push(Problem::error(self.file, place.line(), place.column(), message));
    }

    pub(super) fn found(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    pub(super) fn warning(&mut self, place: Location, message: impl Into<String>) {
        self.problems
            .push(document::warning_at(self.file, self.text, place, message));
    }

    fn config(&mut self, document: &Document) -> Config {
        if *document.version.value() != 1 {
            let message = format!("version {} is not known; write `version: 1`", document.version.value());
            self.error(document.version.place(), message);
        }
        let listeners = listeners::check(self, document);
        let issuers = issuers::check(self, &document.issuers);
        Config {
            admin: listeners::admin(self, &document.admin, &listeners),
            admin_hosts: hops::host_names(self, &document.admin.hosts),
            admin_whoami: *document.admin.whoami.value(),
            listeners,
            upstream: upstream::check(self, &document.upstream),
            flyte: self.flyte(&document.flyte),
            credentials: self.credentials(&document.credentials, &issuers),
            issuers,
            policy: policy::check(self, &document.policy),
            enforcement: document.enforcement,
            overlays: document
                .catalog
                .overlays
                .iter()
                .map(|overlay| self.path(overlay))
                .collect(),
            limits: self.limits(&document.limits),
            audit: self.audit(&document.audit),
            tracing: document.tracing.as_ref().map(|written| tracing::check(self, written)),
            log_format: document.log.format,
            log_level: document.log.level,
            workers: self.workers(&document.workers),
            delay: self.duration(&document.shutdown.delay, Duration::ZERO..=HOUR),
            drain: self.duration(&document.shutdown.drain, Duration::ZERO..=HOUR),
        }
    }

    fn flyte(&mut self, written: &FlyteDocument) -> Flyte {
        let mut domains: Vec<Box<str>> = Vec::new();
        if written.domains.value().is_empty() {
            self.error(
                written.domains.place(),
                "there is no domain, so that every call would be refused; list the domains that exist",
            );
        }
        for domain in written.domains.value() {
            let place = domain.place();
            let domain = self.name(domain, "a domain");
            if domains.contains(&domain) {
                self.error(place, format!("the domain `{domain}` is listed twice"));
            }
            domains.push(domain);
        }
        Flyte {
            generation: written.generation,
            domains,
            organizations: written
                .organizations
                .iter()
                .map(|org| self.name(org, "an organization"))
                .collect(),
        }
    }

    fn credentials(&mut self, written: &CredentialsDocument, issuers: &[IssuerSettings]) -> Credentials {
        Credentials {
            header: self.credential_header(&written.header),
            cookie_keys: written
                .session
                .as_ref()
                .map_or_else(Vec::new, |session| secrets::check(self, session, issuers)),
            load_balancer: written
                .load_balancer
                .as_ref()
                .map(|written| load_balancer::check(self, written)),
            limits: TokenLimits {
                max_bytes: self.size(&written.max_token_bytes, 256..=(1 << 20)),
                cached: self.count(&written.cache_entries, 0..=10_000_000),
            },
        }
    }

    fn credential_header(&mut self, written: &Placed<String>) -> HeaderName {
        // Names with a meaning of their own: a credential taken from or written to them would be read by others.
        const TAKEN: [&str; 7] = [
            "authorization",
            "proxy-authorization",
            "cookie",
            "host",
            "content-type",
            "te",
            "x-amzn-oidc-data",
        ];
        match HeaderName::try_from(written.value()) {
            Ok(header) if !TAKEN.contains(&header.as_str()) => header,
            _ => {
                let message = format!(
                    "`{}` cannot be the second credential header; write the name FlyteAdmin is configured with, such as `flyte-authorization`",
                    written.value()
                );
                self.error(written.place(), message);
                HeaderName::from_static("flyte-authorization")
            }
        }
    }

    fn limits(&mut self, written: &LimitsDocument) -> Limits {
        let connections = self.count(&written.connections, 1..=1_000_000);
        let of_one = written.connections_per_address.as_ref();
        let limits = Limits {
            connections,
            connections_per_address: of_one.map_or(connections.div_ceil(2), |most| self.count(most, 1..=1_000_000)),
            streams_per_connection: self.count(&written.streams_per_connection, 1..=10_000),
            header_bytes: self.size(&written.header_bytes, 4096..=(1 << 20)),
            headers: self.count(&written.headers, 16..=1000),
            body_bytes: self.size(&written.body_bytes, 1024..=GIB),
            decompressed_bytes: self.size(&written.decompressed_bytes, 1024..=GIB),
            message_fields: self.count(&written.message_fields, 100..=100_000_000),
            held_bytes: self.size(&written.held_bytes, (1 << 20)..=(1 << 40)),
            tls_handshake: self.duration(&written.tls_handshake, MILLISECOND..=HOUR),
            preface: self.duration(&written.preface, MILLISECOND..=HOUR),
            headers_timeout: self.duration(&written.headers_timeout, MILLISECOND..=HOUR),
            body_timeout: self.duration(&written.body_timeout, MILLISECOND..=HOUR),
            stall_timeout: self.duration(&written.stall_timeout, MILLISECOND..=HOUR),
            idle: self.duration(&written.idle, MILLISECOND..=24 * HOUR),
        };
        if limits.decompressed_bytes < limits.body_bytes {
            let place = later(written.decompressed_bytes.place(), written.body_bytes.place());
            self.error(place, "`decompressed_bytes` is less than `body_bytes`, so that no body of that size could pass; make them equal");
        }
        // One caller may hold half, in which there has to be room for what the judgement notes besides the message.
        if limits.held_bytes / 4 < limits.decompressed_bytes {
            let place = later(written.held_bytes.place(), written.decompressed_bytes.place());
            self.error(place, "`held_bytes` is less than four times `decompressed_bytes`: one caller may hold half of it, and a message of that size and what is noted of it must fit; write more");
        }
        if limits.idle <= CLIENT_PING {
            self.warning(
                written.idle.place(),
                "Flyte's clients ping every 30s; write more, so that they are not cut off",
            );
        }
        limits
    }

    fn audit(&mut self, written: &AuditDocument) -> Audit {
        let output = match written.output.value().as_str() {
            "stdout" => AuditOutput::Stdout,
            _ => AuditOutput::File(self.path(&written.output)),
        };
        Audit {
            output,
            queue: self.count(&written.queue, 1..=10_000_000),
            claims: written.claims,
            on_full: written.on_full,
            sample_allowed: self.ratio(&written.sample_allowed),
        }
    }

    pub(super) fn ratio(&mut self, written: &Placed<f64>) -> Ratio {
        Ratio::new(*written.value()).unwrap_or_else(|| {
            let message = format!("{} is no share; write 0.0 (none) to 1.0 (all)", written.value());
            self.error(written.place(), message);
            Ratio::ALL
        })
    }

    fn workers(&mut self, written: &Placed<u64>) -> usize {
        match self.count(written, 0..=1024) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    pub(super) fn address(&mut self, written: &Placed<String>) -> SocketAddr {
        written.value().parse().unwrap_or_else(|_| {
            let message = format!(
                "`{}` is no IP address with a port; write `0.0.0.0:8443`, `127.0.0.1:8443` or `[::1]:8443`",
                written.value()
            );
            self.error(written.place(), message);
            // Port 0 collides with no other address.
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// A path, relative to the directory of the configuration file.
    pub(super) fn path(&mut self, written: &Placed<String>) -> PathBuf {
        if written.value().is_empty() {
            self.error(
                written.place(),
                "the path is empty; write one, relative to this file's directory or absolute",
            );
        }
        self.beside(written.value())
    }

    /// A path as it is meant: relative to the directory of the configuration file.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// A text that is not empty and does not begin or end with a space.
    pub(super) fn word(&mut self, written: &Placed<String>, what: &str) -> Box<str> {
        let word = written.value().as_str();
        if word.is_empty() || word.trim() != word {
            self.error(
                written.place(),
                format!("`{word}` is not accepted as {what}: it is empty or begins or ends with a space"),
            );
        }
        word.into()
    }

    /// A name as Flyte accepts it for domains.
    fn name(&mut self, written: &Placed<String>, what: &str) -> Box<str> {
        let name = written.value().as_str();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            self.error(
                written.place(),
                format!("`{name}` is not accepted as {what}; use letters, digits, `-`, `_` and `.`"),
            );
        }
        name.into()
    }

    pub(super) fn duration(&mut self, written: &Placed<String>, accepted: RangeInclusive<Duration>) -> Duration {
        match quantity::duration(written.value()) {
            Ok(duration) if accepted.contains(&duration) => return duration,
            Ok(_) => {
                let (least, most) = accepted.into_inner();
                let (least, most) = (quantity::spell(least), quantity::spell(most));
                let message = format!("`{}` is out of range; write `{least}` to `{most}`", written.value());
                self.error(written.place(), message);
            }
            Err(message) => self.error(written.place(), message),
        }
        Duration::ZERO
    }

    fn size<T: TryFrom<u64> + Default>(&mut self, written: &Placed<String>, accepted: RangeInclusive<u64>) -> T {
        match quantity::size(written.value()) {
            Ok(size) => self.within(written.place(), size, accepted, " bytes"),
            Err(message) => {
                self.error(written.place(), message);
                T::default()
            }
        }
    }

    pub(super) fn count<T: TryFrom<u64> + Default>(
        &mut self,
        written: &Placed<u64>,
        accepted: RangeInclusive<u64>,
    ) -> T {
        self.within(written.place(), *written.value(), accepted, "")
    }

    fn within<T: TryFrom<u64> + Default>(
        &mut self,
        place: Location,
        number: u64,
        accepted: RangeInclusive<u64>,
        unit: &str,
    ) -> T {
        if accepted.contains(&number)
            && let Ok(number) = T::try_from(number)
        {
            return number;
        }
        let (least, most) = accepted.into_inner();
        self.error(
            place,
            format!("{number}{unit} is out of range; write {least} to {most}{unit}"),
        );
        T::default()
    }
}

/// The later of two places: a default, which has none, comes first.
fn later(one: Location, other: Location) -> Location {
    if (one.line(), one.column()) < (other.line(), other.column()) {
        other
    } else {
        one
    }
}
