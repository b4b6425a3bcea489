//! Where the keys of load balancers are: at a URL or in a directory, each in a document of its own.

use super::{LoadBalancerKeys, LoadBalancerSettings};
use crate::credential::load_balancer::{KeyId, SignerKey};
use crate::issuer::fetch::{self, HttpsClient};
use crate::issuer::settings::checked_url;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The age at which a fetched key that is in use is fetched again, in seconds.
const FETCHED_AGAIN_AFTER: u64 = 12 * 60 * 60;
/// The same for a key from a file: one that is taken away is to be gone soon.
const READ_AGAIN_AFTER: u64 = 60;

#[derive(Debug)]
pub(super) enum Origin {
    Network {
        client: Box<HttpsClient<Empty<Bytes>>>,
        base: String,
        allow_http: bool,
    },
    Directory(PathBuf),
}

impl Origin {
    pub(super) fn new(settings: &LoadBalancerSettings) -> Result<Self, String> {
        match &settings.keys {
            LoadBalancerKeys::Url(url) => {
                checked_url(url, settings.allow_http)?;
                Ok(Self::Network {
                    client: Box::new(fetch::client(settings.ca_file.as_deref(), settings.allow_http)?),
                    base: url.trim_end_matches('/').to_owned(),
                    allow_http: settings.allow_http,
                })
            }
            LoadBalancerKeys::Directory(directory) if directory.is_dir() => Ok(Self::Directory(directory.clone())),
            LoadBalancerKeys::Directory(directory) => Err(format!(
                "`{}` is no directory that can be read; put the load balancer's public keys there",
                directory.display()
            )),
        }
    }

    /// The age in seconds at which a key that is in use is to be looked at again.
    pub(super) fn renewed_after(&self) -> u64 {
        match self {
            Self::Network { .. } => FETCHED_AGAIN_AFTER,
            Self::Directory(_) => READ_AGAIN_AFTER,
        }
    }

    /// The document with a key; `None` if there is no such key.
    pub(super) async fn document(&self, id: &KeyId) -> Result<Option<Bytes>, String> {
        match self {
            Self::Directory(directory) => {
                for name in [id.to_string(), format!("{id}.pem")] {
                    if let Some(document) = read(&directory.join(name))? {
                        return Ok(Some(document));
                    }
                }
                Ok(None)
            }
            Self::Network {
                client,
                base,
                allow_http,
            } => {
                let url = checked_url(&format!("{base}/{id}"), *allow_http)?;
                tokio::time::timeout(fetch::DEADLINE, get(client, url))
                    .await
                    .unwrap_or_else(|_| {
                        Err(format!(
                            "{base}: no complete answer within {} s",
                            fetch::DEADLINE.as_secs()
                        ))
                    })
            }
        }
    }
}

/// The store behind AWS's address answers 403 as well as 404 for what it does not have. Its content types say nothing.
async fn get(client: &HttpsClient<Empty<Bytes>>, url: http::Uri) -> Result<Option<Bytes>, String> {
    let (place, response) = fetch::request(client, &url, "*/*", None).await?;
    match response.status() {
        StatusCode::OK => fetch::body(&place, response, SignerKey::MAX_BYTES).await.map(Some),
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
        other => Err(fetch::refused(&place, other)),
    }
}

/// A regular file of at most the size of a key; `None` if it is not there.
fn read(file: &Path) -> Result<Option<Bytes>, String> {
    let fault = |error: std::io::Error| format!("{}: cannot be read: {error}", file.display());
    match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
        // Opening a pipe would wait for somebody to write.
        Ok(metadata) if !metadata.is_file() => return Err(format!("{}: is no regular file", file.display())),
        Ok(_) => {}
    }
    let mut document = Vec::new();
    let limit = SignerKey::MAX_BYTES as u64 + 1;
    File::open(file)
        .and_then(|opened| opened.take(limit).read_to_end(&mut document))
        .map_err(fault)?;
    if document.len() > SignerKey::MAX_BYTES {
        return Err(format!(
            "{}: has more than {} bytes",
            file.display(),
            SignerKey::MAX_BYTES
        ));
    }
    Ok(Some(document.into()))
}
