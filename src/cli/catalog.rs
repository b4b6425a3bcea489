//! `catalog`: what the proxy knows about the API.

use super::{Format, INVALID, OK, listed, print, print_error};
use crate::catalog::Catalog;
use crate::files;
use std::path::PathBuf;

/// Prints the built-in catalogue, with overlays if there are any.
pub(super) fn run(format: Format, overlays: &[PathBuf]) -> u8 {
    match files::read_all(overlays).and_then(|read| Catalog::with_overlays(&read)) {
        Ok(catalog) => {
            match format {
                Format::Text => print(&catalog.table()),
                Format::Json => print(&format!("{:#}\n", catalog.json())),
            }
            OK
        }
        Err(problems) => {
            print_error(&listed(&problems));
            INVALID
        }
    }
}
