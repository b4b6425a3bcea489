//! Keys that come, change, go and fail.
