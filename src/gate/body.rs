//! Reads a request's body within bounds. What was judged is what is forwarded: one message, held in memory.

use crate::catalog::{Access, Binding};
use crate::config::Limits;
use crate::extract::targets::Payload;
use crate::filter::pieces::Pieces;
use crate::held::Hold;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::protocol::envelope::{self, Encoding};
use crate::protocol::{Protocol, RequestHead};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use std::mem;
use std::time::Duration;

/// The largest message read from a caller who has shown no credential, in bytes: public calls have empty ones.
const PUBLIC_BYTES: usize = 4 << 10;

/// The largest body of a page request, in bytes: forms of login and requests for tokens.
const FORM_BYTES: usize = 64 << 10;

/// How much of a refused request's body is read and dropped, so that the client reads the answer and not a reset.
const DISCARD_BYTES: usize = 4 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);

static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The body of a request to be judged.
#[derive(Debug)]
pub struct JudgedBody {
    message: Bytes,
    forwarded: Bytes,
    codec: Codec,
    hold: Hold,
}

/// How the message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// There is none.
    Empty,
    /// In protobuf.
    Protobuf,
    /// In JSON.
    Json,
}

impl JudgedBody {
    /// The length of the message in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// The message as the walkers read it.
    #[must_use]
    pub fn payload(&self) -> Payload<'_> {
        match self.codec {
            Codec::Empty => Payload::None,
            Codec::Protobuf => Payload::Protobuf(&self.message),
            Codec::Json => Payload::Json(&self.message),
        }
    }

    /// How the message is written.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The message as it was judged.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Another message to go upstream in place of the judged one, in the same codec.
    #[must_use]
    pub(super) fn with_message(self, message: Vec<u8>, protocol: Protocol) -> Self {
        let message = Bytes::from(message);
        Self {
            forwarded: match protocol {
                Protocol::Grpc => envelope::frame(&message),
                Protocol::Rest | Protocol::RestProto => message.clone(),
            },
            message,
            ..self
        }
    }

    /// What goes upstream, and what counts it as held.
    #[must_use]
    pub fn into_forwarded(self) -> (Bytes, Hold) {
        (self.forwarded, self.hold)
    }
}

/// Reads the one message of an API call, a short one of a public call. `binding` is `None` for gRPC.
///
/// # Errors
/// `message_too_large`, `memory_full`, `body_timeout`, `body_aborted`, `frame_malformed`, `encoding_unsupported`,
/// `content_type_unsupported`, `body_unexpected`.
pub async fn judged(
    head: &RequestHead,
    access: Access,
    binding: Option<&Binding>,
    body: &mut Option<Incoming>,
    limits: &Limits,
    mut hold: Hold,
) -> Result<JudgedBody, Denial> {
    let bound = if access == Access::Public {
        PUBLIC_BYTES
    } else {
        usize::MAX
    };
    if head.protocol() == Protocol::Grpc {
        let encoding = Encoding::parse(head.headers().get(&GRPC_ENCODING).map(HeaderValue::as_bytes))?;
        let limit = limits.body_bytes.min(bound).saturating_add(envelope::PREFIX);
        let unary = envelope::open(
            read(body, limit, limits.body_timeout, &mut hold).await?,
            encoding,
            limits.decompressed_bytes.min(bound),
        )?;
        hold.set(unary.framed.len())?;
        return Ok(JudgedBody {
            message: unary.message,
            forwarded: unary.framed,
            codec: Codec::Protobuf,
            hold,
        });
    }
    if head
        .headers()
        .get(CONTENT_ENCODING)
        .is_some_and(|value| value != "identity")
    {
        return Err(Denial::new(
            Reason::EncodingUnsupported,
            "content-encoding is not accepted; send the body as it is",
        ));
    }
    let accepts_body = binding.is_some_and(|binding| binding.body);
    let limit = if accepts_body { limits.body_bytes.min(bound) } else { 0 };
    let bytes = match read(body, limit, limits.body_timeout, &mut hold).await {
        Err(denial) if !accepts_body && denial.reason == Reason::MessageTooLarge => {
            return Err(Reason::BodyUnexpected.into());
        }
        read => read?,
    };
    let codec = if accepts_body {
        codec(head, &bytes)?
    } else {
        Codec::Empty
    };
    Ok(JudgedBody {
        message: bytes.clone(),
        forwarded: bytes,
        codec,
        hold,
    })
}

/// Reads the body of a page request, which nobody judges. It is read whole before it is forwarded: who sends it slowly, or
/// never, uses no connection of the control plane meanwhile.
///
/// # Errors
/// `message_too_large`, `memory_full`, `caller_memory_full`, `body_timeout`, `body_aborted`.
pub async fn form(body: &mut Option<Incoming>, limits: &Limits, hold: &mut Hold) -> Result<Bytes, Denial> {
    read(body, limits.body_bytes.min(FORM_BYTES), limits.body_timeout, hold).await
}

/// The content type chooses the gateway's decoder: only the two whose reading is known are accepted.
fn codec(head: &RequestHead, body: &Bytes) -> Result<Codec, Denial> {
    let Some(content_type) = head.headers().get(CONTENT_TYPE) else {
        if body.is_empty() {
            return Ok(Codec::Empty);
        }
        return Err(Denial::new(
            Reason::ContentTypeUnsupported,
            "the body needs a content-type: application/json or application/octet-stream",
        ));
    };
    let lower = content_type.as_bytes().to_ascii_lowercase();
    match lower.as_slice() {
        b"application/json" | b"application/json;charset=utf-8" | b"application/json; charset=utf-8" => Ok(Codec::Json),
        b"application/octet-stream" => Ok(Codec::Protobuf),
        _ if body.is_empty() && lower != b"application/x-www-form-urlencoded" => Ok(Codec::Empty),
        _ => Err(Denial::new(
            Reason::ContentTypeUnsupported,
            "the content-type must be application/json or application/octet-stream",
        )),
    }
}

/// Reads a whole body. Trailers of the request are dropped.
async fn read(body: &mut Option<Incoming>, limit: usize, deadline: Duration, hold: &mut Hold) -> Result<Bytes, Denial> {
    let Some(body) = body.as_mut().filter(|body| !body.is_end_stream()) else {
        return Ok(Bytes::new());
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(envelope::too_large(body.size_hint().lower(), limit));
    }
    tokio::time::timeout(deadline, collect(body, limit, hold))
        .await
        .unwrap_or_else(|_| Err(Reason::BodyTimeout.into()))
}

/// What is announced does not count before it arrives: otherwise announcements alone could use up what may be held.
async fn collect(body: &mut Incoming, limit: usize, hold: &mut Hold) -> Result<Bytes, Denial> {
    let mut first = Bytes::new();
    let mut rest: Option<Pieces> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Denial::from(Reason::BodyAborted))?.into_data() else {
            continue;
        };
        let so_far = rest.as_ref().map_or(first.len(), Pieces::len);
        if data.len() > limit.saturating_sub(so_far) {
            return Err(envelope::too_large((so_far + data.len()) as u64, limit));
        }
        hold.set(so_far + data.len())?;
        // Most messages come in one piece, which is kept as it is.
        if rest.is_none() && first.is_empty() {
            first = data;
        } else {
            let rest = rest.get_or_insert_with(|| {
                let mut pieces = Pieces::default();
                pieces.push(mem::take(&mut first));
                pieces
            });
            rest.push(data);
        }
    }
    Ok(rest.map_or(first, Pieces::joined))
}

/// Reads and drops the rest of a refused request's body, within bounds, while the answer is on its way.
pub fn discard(body: Option<Incoming>) {
    let Some(mut body) = body.filter(|body| !body.is_end_stream()) else {
        return;
    };
    tokio::spawn(async move {
        let reading = async {
            let mut dropped = 0;
            while let Some(Ok(frame)) = body.frame().await {
                dropped += frame.data_ref().map_or(0, Bytes::len);
                if dropped > DISCARD_BYTES {
                    break;
                }
            }
        };
        // Whether it ended by itself makes no difference: the body is dropped.
        _ = tokio::time::timeout(DISCARD_TIME, reading).await;
    });
}
