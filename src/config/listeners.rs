//! Checks the listeners.

use super::check::Check;
use super::document::{
    AdminDocument, CertificateNameWord, Document, IdentityDocument, ListenerDocument, Placed, TlsDocument,
};
use super::{CertificatePrincipal, ClientCertificates, FixedPrincipal, Identity, KeyPair, Listener, ListenerTls, hops};
use crate::credential::certificate::NameKind;
use crate::policy::{Subjects, compile};
use std::net::SocketAddr;
use std::sync::Arc;

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
        let nobody = document.issuers.is_empty() && document.credentials.load_balancer.is_none();
        if needs_issuers(&listener) && nobody {
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

/// Whether there are callers that only a token can identify.
fn needs_issuers(listener: &Listener) -> bool {
    if listener.redirect.is_some() {
        return false;
    }
    match &listener.identity {
        Identity::Tokens => true,
        Identity::Principal(_) => false,
        Identity::ClientCertificate(_) => asked(listener).is_some_and(|certificates| !certificates.required),
    }
}

/// What the listener asks clients for.
fn asked(listener: &Listener) -> Option<&ClientCertificates> {
    listener.tls.as_ref()?.client_certificates.as_ref()
}

fn listener(check: &mut Check<'_>, written: &ListenerDocument) -> Listener {
    let listener = Listener {
        name: check.word(&written.name, "a listener's name"),
        address: check.address(&written.address),
        tls: written.tls.as_ref().map(|tls| tls_of(check, tls)),
        identity: identity(check, &written.identity),
        accept: accepted(check, written),
        hops: hops::check(check, written),
        proxy_protocol: *written.proxy_protocol.value(),
        redirect: hops::redirect(check, written),
    };
    certificates(check, written, &listener);
    if !listener.address.ip().is_loopback() && listener.redirect.is_none() {
        exposed(check, written, &listener);
    }
    listener
}

fn tls_of(check: &mut Check<'_>, written: &TlsDocument) -> ListenerTls {
    let mut pair = |certificate: &Placed<String>, key: &Placed<String>| KeyPair {
        certificate: check.path(certificate),
        key: check.path(key),
    };
    ListenerTls {
        default: pair(&written.certificate, &written.key),
        more: written
            .certificates
            .iter()
            .map(|written| pair(&written.certificate, &written.key))
            .collect(),
        minimum_version: written.minimum_version,
        client_certificates: written
            .client_certificates
            .as_ref()
            .map(|certificates| ClientCertificates {
                ca: check.path(&certificates.ca),
                required: *certificates.required.value(),
            }),
    }
}

fn identity(check: &mut Check<'_>, written: &IdentityDocument) -> Identity {
    let groups = |check: &mut Check<'_>, groups: &[Placed<String>]| {
        groups.iter().map(|group| check.word(group, "a group")).collect()
    };
    match written {
        IdentityDocument::Tokens => Identity::Tokens,
        IdentityDocument::Principal(principal) => Identity::Principal(FixedPrincipal {
            subject: check.word(&principal.subject, "a subject"),
            groups: groups(check, &principal.groups),
            pass_credential: principal.pass_credential,
        }),
        IdentityDocument::ClientCertificate(certificate) => Identity::ClientCertificate(CertificatePrincipal {
            names: names(check, &certificate.name),
            groups: groups(check, &certificate.groups),
            pass_credential: certificate.pass_credential,
        }),
    }
}

fn names(check: &mut Check<'_>, written: &Placed<Vec<CertificateNameWord>>) -> Vec<NameKind> {
    if written.value().is_empty() {
        let message = "no name of a certificate would be looked at; write `spiffe`, `dns` or `common_name`";
        check.error(written.place(), message);
    }
    let mut names = Vec::new();
    for word in written.value() {
        let kind = match word {
            CertificateNameWord::Spiffe => NameKind::Spiffe,
            CertificateNameWord::Dns => NameKind::Dns,
            CertificateNameWord::CommonName => NameKind::CommonName,
        };
        if names.contains(&kind) {
            let message = format!("`{}` is listed twice; keep one of them", kind.label());
            check.error(written.place(), message);
        }
        names.push(kind);
    }
    names
}

fn accepted(check: &mut Check<'_>, written: &ListenerDocument) -> Option<Arc<Subjects>> {
    let accept = written.accept.as_ref()?;
    match compile::subjects(check.file, check.text, accept) {
        Ok(subjects) => Some(Arc::new(subjects)),
        Err(problems) => {
            check.found(problems);
            None
        }
    }
}

/// What a listener says of client certificates must fit together.
fn certificates(check: &mut Check<'_>, written: &ListenerDocument, listener: &Listener) {
    let asked = written.tls.as_ref().and_then(|tls| tls.client_certificates.as_ref());
    match (&listener.identity, asked) {
        (Identity::ClientCertificate(_), None) => {
            let message = format!(
                "listener `{}` identifies callers by their certificates, but asks for none; add `client_certificates` with a `ca` under its `tls`",
                listener.name
            );
            check.error(written.name.place(), message);
        }
        (Identity::Tokens | Identity::Principal(_), Some(asked)) if !asked.required.value() => check.warning(
            asked.required.place(),
            "`required: false` has no effect here: callers are not identified by certificates, and may come without one; write `required: true`, or leave `client_certificates` out",
        ),
        _ => {}
    }
}

/// Warns of what is dangerous on an address that others can reach.
fn exposed(check: &mut Check<'_>, written: &ListenerDocument, listener: &Listener) {
    match &listener.identity {
        Identity::Tokens if listener.tls.is_none() => check.warning(
            written.address.place(),
            "tokens cross the network in plain text here; add `tls`, or listen on 127.0.0.1",
        ),
        Identity::Principal(principal) if !asked(listener).is_some_and(|certificates| certificates.required) => check.warning(
            written.address.place(),
            format!(
                "whoever reaches this address is `{}`; listen on 127.0.0.1, or let a NetworkPolicy close it to others",
                principal.subject
            ),
        ),
        Identity::Tokens | Identity::Principal(_) | Identity::ClientCertificate(_) => {}
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
