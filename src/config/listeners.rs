//! Checks the listeners.

use super::check::Check;
use super::document::{AdminDocument, Document, IdentityDocument, ListenerDocument};
use super::{FixedPrincipal, Identity, Listener, ListenerTls};
use std::net::SocketAddr;

pub(super) fn check(check: &mut Check<'_>, document: &Document) -> Vec<Listener> {
    if document.listeners.value().is_empty() {
        check.error(document.listeners.place(), "there is no listener; write at least one");
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for written in document.listeners.value() {
        let listener = listener(check, written);
        if listeners.iter().any(|other| other.name == listener.name) {
            check.error(
                written.name.place(),
                format!("another listener is named `{}`", listener.name),
            );
        }
        if listeners
            .iter()
            .any(|other| same_address(other.address, listener.address))
        {
            let message = format!("another listener has the address `{}`", listener.address);
            check.error(written.address.place(), message);
        }
        if listener.identity == Identity::Tokens && document.issuers.is_empty() {
            let message = format!(
                "listener `{}` identifies callers by tokens, but there are no issuers; add one under `issuers`",
                listener.name
            );
            check.error(written.name.place(), message);
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(check: &mut Check<'_>, written: &ListenerDocument) -> Listener {
    let name = check.word(&written.name, "a listener's name");
    let address = check.address(&written.address);
    let tls = written.tls.as_ref().map(|tls| ListenerTls {
        certificate: check.path(&tls.certificate),
        key: check.path(&tls.key),
        minimum_version: tls.minimum_version,
    });
    let identity = match &written.identity {
        IdentityDocument::Tokens => Identity::Tokens,
        IdentityDocument::Principal(principal) => Identity::Principal(FixedPrincipal {
            subject: check.word(&principal.subject, "a subject"),
            groups: principal
                .groups
                .iter()
                .map(|group| check.word(group, "a group"))
                .collect(),
            pass_credential: principal.pass_credential,
        }),
    };
    if !address.ip().is_loopback() {
        match &identity {
            Identity::Tokens if tls.is_none() => check.warning(
                written.address.place(),
                "tokens cross the network in plain text here; add `tls`, or listen on 127.0.0.1",
            ),
            Identity::Principal(principal) => check.warning(
                written.address.place(),
                format!(
                    "whoever reaches this address is `{}`; listen on 127.0.0.1, or let a NetworkPolicy close it to others",
                    principal.subject
                ),
            ),
            Identity::Tokens => {}
        }
    }
    Listener {
        name,
        address,
        tls,
        identity,
    }
}

pub(super) fn admin(check: &mut Check<'_>, document: &AdminDocument, listeners: &[Listener]) -> SocketAddr {
    let written = &document.address;
    let address = check.address(written);
    if let Some(listener) = listeners
        .iter()
        .find(|listener| same_address(listener.address, address))
    {
        let message = format!("listener `{}` has the address `{address}` too", listener.name);
        check.error(written.place(), message);
    }
    if address.ip().is_unspecified() {
        check.warning(
            written.place(),
            "metrics and status are open to whoever reaches this address; let a NetworkPolicy close it to others",
        );
    }
    if *document.whoami.value() && !address.ip().is_loopback() {
        check.warning(
            document.whoami.place(),
            "tokens that are sent to `/whoami` cross the network in plain text here; let the admin listener have a loopback \
             address, or leave `whoami` out",
        );
    }
    address
}

/// Whether two addresses cannot be bound together. Port 0 is a new port each time.
fn same_address(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}
