//! A gRPC status as a value, and how the gateway shows it.

use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// A refusal or failure of a call (<https://grpc.io/docs/guides/status-codes/>).
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Status {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(3, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(5, message)
    }

    pub(super) fn already_exists(message: impl Into<String>) -> Self {
        Self::new(6, message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(8, message)
    }

    pub(super) fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(12, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(13, message)
    }

    /// The HTTP status that grpc-gateway gives the code.
    pub(super) fn http(&self) -> StatusCode {
        match self.code {
            3 | 9 | 11 => StatusCode::BAD_REQUEST,
            4 => StatusCode::GATEWAY_TIMEOUT,
            5 => StatusCode::NOT_FOUND,
            6 | 10 => StatusCode::CONFLICT,
            7 => StatusCode::FORBIDDEN,
            8 => StatusCode::TOO_MANY_REQUESTS,
            12 => StatusCode::NOT_IMPLEMENTED,
            14 => StatusCode::SERVICE_UNAVAILABLE,
            16 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Percent-encodes a `grpc-message` (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>).
pub(super) fn encode_message(message: &str) -> String {
    const REFUSED: &AsciiSet = &CONTROLS.add(b'%');
    utf8_percent_encode(message, REFUSED).to_string()
}
