//! The words every other module speaks: actions, principals, scopes, reasons, denials.

pub mod action;
pub mod denial;
pub mod network;
pub mod principal;
pub mod problem;
pub mod ratio;
pub mod reason;
pub mod scope;
pub mod setting;
