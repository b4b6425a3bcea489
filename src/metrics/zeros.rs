//! Series that are there from the start, at zero, so that their first increase is seen as one.

use super::{AnswerClass, Metrics};
use crate::model::reason::Reason;
use crate::policy::decide::enforcement::BY_RULES;
use crate::protocol::Protocol;

/// Makes the series whose labels are known.
pub(super) fn show(metrics: &Metrics) {
    for protocol in Protocol::ALL {
        for reason in Reason::ALL {
            metrics.refusal(*protocol, *reason);
        }
        for class in AnswerClass::ALL {
            metrics
                .upstream_answers
                .with_label_values(&[protocol.label(), class.label()]);
        }
    }
    for protocol in Protocol::ALL {
        for reason in BY_RULES {
            let labels = [protocol.label(), reason.label()];
            metrics.shadow_refusals.with_label_values(&labels);
        }
    }
    for result in ["same", "different"] {
        metrics.candidate_decisions.with_label_values(&[result]);
    }
    for result in ["hit", "miss"] {
        metrics.token_cache.with_label_values(&[result]);
    }
    for port in ["grpc", "http"] {
        metrics.upstream_connect_failures.with_label_values(&[port]);
        metrics.upstream_repeats.with_label_values(&[port]);
    }
    for result in ["exported", "failed", "dropped"] {
        metrics.traces.with_label_values(&[result]);
    }
}
