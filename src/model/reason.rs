//! The closed table of reasons: why a request was refused or failed, and how that is answered.

/// How a reason is answered: a gRPC status code and the HTTP status for REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC status code (<https://grpc.io/docs/guides/status-codes/>).
    pub grpc: u8,
    /// HTTP status for REST and pages.
    pub http: u16,
    /// Status code in a REST body (`google.rpc.Code`).
    pub body: u8,
}

const UNAUTHENTICATED: Status = Status {
    grpc: 16,
    http: 401,
    body: 16,
};
const DENIED: Status = Status {
    grpc: 7,
    http: 403,
    body: 7,
};
// A gRPC client shows the text of PERMISSION_DENIED; REST clients know 404 as "no such route".
const UNKNOWN: Status = Status {
    grpc: 7,
    http: 404,
    body: 5,
};
const NOT_FOUND: Status = Status {
    grpc: 5,
    http: 404,
    body: 5,
};
const INVALID: Status = Status {
    grpc: 3,
    http: 400,
    body: 3,
};
const MISDIRECTED: Status = Status {
    grpc: 3,
    http: 421,
    body: 3,
};
const TOO_LARGE: Status = Status {
    grpc: 8,
    http: 413,
    body: 8,
};
const EXHAUSTED: Status = Status {
    grpc: 8,
    http: 429,
    body: 8,
};
const UNSUPPORTED: Status = Status {
    grpc: 12,
    http: 415,
    body: 12,
};
const UNAVAILABLE: Status = Status {
    grpc: 14,
    http: 503,
    body: 14,
};
const DEADLINE: Status = Status {
    grpc: 4,
    http: 504,
    body: 4,
};
const SLOW_CLIENT: Status = Status {
    grpc: 4,
    http: 408,
    body: 4,
};
const INTERNAL: Status = Status {
    grpc: 13,
    http: 500,
    body: 13,
};
const BAD_GATEWAY: Status = Status {
    grpc: 14,
    http: 502,
    body: 14,
};

/// Whose fault a failure is: dashboards keep "our bug", "their outage" and "the client left" apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller sent something that is refused.
    Client,
    /// The proxy itself is not able to serve.
    Proxy,
    /// The control plane failed.
    Upstream,
}

macro_rules! reasons {
    ($($variant:ident $label:literal $status:ident $blame:ident $help:literal,)*) => {
        /// Why a request was refused or failed. Labels are stable: they appear in answers, metrics and audit records.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $help] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// How it is answered.
            #[must_use]
            pub const fn status(self) -> Status {
                match self { $(Self::$variant => $status,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)* }
            }

            /// One sentence that explains it, shown when the refusal has no text of its own.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

reasons! {
    CredentialMissing "credential_missing" UNAUTHENTICATED Client "no credential was sent; log in and send a bearer token",
    CredentialMalformed "credential_malformed" UNAUTHENTICATED Client "the credential is not of the form `Bearer TOKEN` or `IDToken TOKEN`",
    CredentialConflict "credential_conflict" INVALID Client "the request carries credentials that disagree; send exactly one",
    TokenMalformed "token_malformed" UNAUTHENTICATED Client "the token is not a well-formed signed JWT",
    TokenSignatureInvalid "token_signature_invalid" UNAUTHENTICATED Client "the token's signature does not match the issuer's key",
    TokenExpired "token_expired" UNAUTHENTICATED Client "the token has expired; log in again",
    TokenExpiredInFlight "token_expired_in_flight" UNAUTHENTICATED Client "the token expired while the call was running; log in again",
    TokenInactive "token_inactive" UNAUTHENTICATED Client "the issuer says that the token is not active; log in again",
    TokenRevoked "token_revoked" UNAUTHENTICATED Client "the token was revoked; log in again",
    TokenNotYetValid "token_not_yet_valid" UNAUTHENTICATED Client "the token is not valid yet; check the clocks",
    TokenTypeRefused "token_type_refused" UNAUTHENTICATED Client "the token's type is not accepted from this issuer",
    AlgorithmRefused "algorithm_refused" UNAUTHENTICATED Client "the token's signature algorithm is not accepted from this issuer",
    IssuerUnknown "issuer_unknown" UNAUTHENTICATED Client "the token's issuer is not configured",
    AudienceMismatch "audience_mismatch" UNAUTHENTICATED Client "the token was issued for another audience",
    SignerRefused "signer_refused" UNAUTHENTICATED Client "the load balancer that signed is not one of those configured",
    KeyUnknown "key_unknown" UNAUTHENTICATED Client "the token names a key that the issuer does not publish",
    ClaimMissing "claim_missing" UNAUTHENTICATED Client "the token lacks a claim that is required",
    ClaimInvalid "claim_invalid" UNAUTHENTICATED Client "a claim of the token has a form that is not accepted",
    GroupsOverage "groups_overage" DENIED Client "the token leaves out the caller's groups because there are too many",
    CertificateRefused "certificate_refused" UNAUTHENTICATED Client "the client certificate does not name the caller in the way this listener asks for, or its authority was withdrawn",
    CertificateExpired "certificate_expired" UNAUTHENTICATED Client "the connection's client certificate has expired; connect again with a valid one",
    PrincipalRefused "principal_refused" DENIED Client "this listener does not accept the caller",
    NoMatchingRule "no_matching_rule" DENIED Client "no rule allows this",
    DeniedByRule "denied_by_rule" DENIED Client "a rule denies this",
    ReferenceRefused "reference_refused" DENIED Client "the request refers to something the caller may not use",
    ResourceNotListed "resource_not_listed" DENIED Client "the caller may act here only on the names its grant lists",
    ExecutionUnknown "execution_unknown" NOT_FOUND Client "there is no execution of that name to be started again",
    SettingRefused "setting_refused" DENIED Client "the caller may not choose how the execution runs in this way",
    SettingConflict "setting_conflict" DENIED Client "rules set different values of one setting",
    RightWithdrawn "right_withdrawn" DENIED Client "the policy was changed while the call was running and no longer allows it",
    DomainUnknown "domain_unknown" DENIED Client "the domain is not one of the configured domains",
    OrganizationRefused "organization_refused" DENIED Client "the organization is not one of those accepted",
    RedirectRefused "redirect_refused" INVALID Client "the redirect would leave this host",
    MethodUnknown "method_unknown" UNKNOWN Client "the method is not in the catalogue",
    RouteUnknown "route_unknown" UNKNOWN Client "the route is not in the catalogue",
    HttpMethodRefused "http_method_refused" INVALID Client "the HTTP method is not accepted here",
    PathNotCanonical "path_not_canonical" INVALID Client "the path has more than one reading",
    HostInvalid "host_invalid" INVALID Client "the request names no host, or more than one",
    ForwardedInvalid "forwarded_invalid" INVALID Client "what a trusted hop says of where the request came from cannot be read",
    Misdirected "misdirected" MISDIRECTED Client "this listener does not answer for what was asked of it",
    HttpsRequired "https_required" INVALID Client "this listener only leads browsers to https; use the https address",
    HeaderAmbiguous "header_ambiguous" INVALID Client "a header that must be single has several values, or none that can be read",
    MethodOverride "method_override" INVALID Client "headers that change the HTTP method are refused",
    UpgradeRefused "upgrade_refused" INVALID Client "protocol upgrades are refused",
    QueryRefused "query_refused" INVALID Client "the query has a key that is not accepted on this route, or has it twice",
    ScopeMissing "scope_missing" INVALID Client "a field that selects the scope is empty or missing",
    ScopeAmbiguous "scope_ambiguous" INVALID Client "a field that selects the scope has more than one value",
    ScopeInvalid "scope_invalid" INVALID Client "a field that selects the scope has a value that is no valid name",
    FieldUnknown "field_unknown" INVALID Client "the message has a field that the catalogue does not know",
    FieldInvalid "field_invalid" INVALID Client "a field has a value that is not accepted",
    BodyMalformed "body_malformed" INVALID Client "the body is not a well-formed message",
    BodyUnexpected "body_unexpected" INVALID Client "the request has a body where none is accepted",
    FrameMalformed "frame_malformed" INVALID Client "the body is not exactly one gRPC message",
    TimeoutInvalid "timeout_invalid" INVALID Client "the grpc-timeout header is not well-formed",
    MessageTooLarge "message_too_large" TOO_LARGE Client "the message is larger than the limit",
    HeadersTooLarge "headers_too_large" TOO_LARGE Client "the request has too many or too large headers",
    ContentTypeUnsupported "content_type_unsupported" UNSUPPORTED Client "the content type is not accepted on this route",
    EncodingUnsupported "encoding_unsupported" UNSUPPORTED Client "the content encoding is not accepted",
    CallerMemoryFull "caller_memory_full" EXHAUSTED Client "the caller's other requests hold half of the bytes that all may hold in memory (`limits.held_bytes`); wait for their answers and take them",
    CallerRequestsFull "caller_requests_full" EXHAUSTED Client "the caller's other requests use all that it may have of the control plane's HTTP port (half of `upstream.http_connections`, without a credential a quarter); wait for their answers and take them",
    BodyTimeout "body_timeout" SLOW_CLIENT Client "the request body did not arrive in time",
    BodyAborted "body_aborted" INVALID Client "the request body ended before it was complete",
    KeysUnavailable "keys_unavailable" UNAVAILABLE Proxy "the issuer's keys could not be fetched yet; try again",
    IntrospectionUnavailable "introspection_unavailable" UNAVAILABLE Proxy "the issuer could not be asked about the token; try again",
    UpstreamUnreachable "upstream_unreachable" UNAVAILABLE Upstream "the control plane cannot be reached; try again",
    UpstreamFailed "upstream_failed" BAD_GATEWAY Upstream "the control plane broke off or answered with something that is no valid response",
    AnswerUnreadable "answer_unreadable" BAD_GATEWAY Upstream "the control plane's answer could not be understood, so that nothing of it is shown",
    CredentialRefused "credential_refused" UNAUTHENTICATED Upstream "the control plane does not accept the credential; log in again",
    UpstreamTimeout "upstream_timeout" DEADLINE Upstream "the control plane did not answer in time",
    AuditFull "audit_full" UNAVAILABLE Proxy "the audit log cannot take more records now; try again",
    MemoryFull "memory_full" UNAVAILABLE Proxy "too many bytes of other requests are held in memory now (`limits.held_bytes`); try again",
    RequestsFull "requests_full" UNAVAILABLE Proxy "too many requests run on the control plane's HTTP port now (`upstream.http_connections`); try again",
    ShuttingDown "shutting_down" UNAVAILABLE Proxy "the proxy is shutting down; try again",
    Internal "internal" INTERNAL Proxy "the proxy failed; the fault is recorded",
}
