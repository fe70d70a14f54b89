//! Fetches one file from a web server: the source of an ingest step.
//!
//! The bytes are kept as they were served, without decoding. A file appears under its name only when all of it is
//! there. Nothing is tried twice: that is for the step's `retry` to say, with the help of [`FetchError::is_transient`].

mod file_name;
mod redact;

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runstone_core::hash::ContentHash;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use redact::for_people;
pub(crate) use redact::redact;

/// Bytes read at a time.
const BUFFER: usize = 128 << 10;
/// Longest header of a response, in bytes.
const MAX_HEADER: usize = 64 << 10;

/// What a server gave to tell versions apart. Worth sending only while the bytes that came with it are still at hand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`, as served.
    pub etag: Option<String>,
    /// `Last-Modified`, as served.
    pub last_modified: Option<String>,
}

/// How much is accepted, and how long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of the file.
    pub bytes: u64,
    /// For everything together.
    pub total: Duration,
    /// For the connection, for the header of the answer, and for each further piece.
    pub idle: Duration,
    /// Redirects that are followed.
    pub redirects: u32,
}

impl Default for FetchLimits {
    /// Any size, a day in all, a minute without a sign of life, ten redirects.
    fn default() -> Self {
        let (total, idle) = (Duration::from_secs(24 * 60 * 60), Duration::from_secs(60));
        Self { bytes: u64::MAX, total, idle, redirects: 10 }
    }
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that have arrived.
    pub received: u64,
    /// Bytes in all, where the server says.
    pub total: Option<u64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The server has what it had when it gave the validators.
    NotModified,
    /// A file.
    File(FetchedFile),
}

/// A fetched file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Where it is: in the folder asked for, under `file_name`.
    pub path: PathBuf,
    /// What the server calls it (`Content-Disposition`), or else the last part of the address; a single harmless
    /// path component.
    pub file_name: String,
    /// Bytes.
    pub size: u64,
    /// Content.
    pub hash: ContentHash,
    /// For the next time.
    pub validators: Validators,
}

/// Why there is no file. No text shows credentials or the query of the address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Not an `http` or `https` address.
    #[error("{url} is not an http(s) address: {reason}")]
    Address {
        /// The address, for people.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer.
    #[error("cannot fetch {url}: {reason}")]
    Unreachable {
        /// The address, for people.
        url: String,
        /// What happened, with advice.
        reason: String,
        /// Whether it may go better the next time.
        transient: bool,
    },
    /// An answer without the file.
    #[error("cannot fetch {url}: the server answered {status}{}", hint(*status))]
    Status {
        /// The address, for people.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// The transfer broke off.
    #[error("cannot fetch {url}: the transfer broke off after {received} bytes{}: {reason}", of_total(*total))]
    Broken {
        /// The address, for people.
        url: String,
        /// Bytes that arrived.
        received: u64,
        /// Bytes announced.
        total: Option<u64>,
        /// What happened.
        reason: String,
    },
    /// More bytes than allowed.
    #[error("cannot fetch {url}: it is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The address, for people.
        url: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// The caller did not want to go on.
    #[error("fetching {url} was stopped")]
    Stopped {
        /// The address, for people.
        url: String,
    },
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FetchError {
    /// Whether the same may succeed later: no connection, a busy or failing server, a transfer that broke off.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { transient, .. } => *transient,
            Self::Broken { .. } => true,
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429),
            Self::Address { .. } | Self::TooLarge { .. } | Self::Stopped { .. } | Self::Write { .. } => false,
        }
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => ": it wants credentials, or others",
        404 | 410 => ": check the address",
        408 | 425 | 429 => ": it is busy, try again later",
        500.. => ": it has a problem of its own, try again later",
        _ => ", not the file",
    }
}

fn of_total(total: Option<u64>) -> String {
    total.map(|total| format!(" of {total}")).unwrap_or_default()
}

/// Fetches what is at `url` into the folder `dest_dir`, which must exist. With the validators of an earlier fetch,
/// the server may say that nothing has changed. `progress` is told of every piece and may end the transfer.
///
/// # Errors
/// [`FetchError`]; the folder then is as it was.
pub fn fetch(
    url: &str,
    dest_dir: &Path,
    previous: Option<&Validators>,
    limits: &FetchLimits,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fetched, FetchError> {
    let request = Request { url, limits };
    let response = request.send(previous)?;
    if response.status() == StatusCode::NOT_MODIFIED && previous.is_some() {
        return Ok(Fetched::NotModified);
    }
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status { url: for_people(url), status: response.status() });
    }
    let (parts, body) = response.into_parts();
    let file_name = file_name::choose(&parts.headers, url);
    let path = dest_dir.join(&file_name);
    let write_error = |source| FetchError::Write { path: path.clone(), source };
    let mut file = tempfile::Builder::new().prefix(".fetch-").tempfile_in(dest_dir).map_err(write_error)?;
    let (hash, size) = request.receive(body, &mut file, &path, progress)?;
    file.persist(&path).map_err(|error| write_error(error.error))?;
    let validators = validators(&parts.headers);
    Ok(Fetched::File(FetchedFile { path, file_name, size, hash, validators }))
}

fn validators(headers: &HeaderMap) -> Validators {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Validators { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) }
}

struct Request<'a> {
    url: &'a str,
    limits: &'a FetchLimits,
}

impl Request<'_> {
    fn agent(&self, is_https: bool) -> Agent {
        let idle = Some(self.limits.idle);
        // The certificates of the machine, so that those of an organisation count too.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        Agent::config_builder()
            .tls_config(tls)
            // What begins protected does not go on unprotected.
            .https_only(is_https)
            .http_status_as_error(false)
            .max_redirects(self.limits.redirects)
            .max_redirects_will_error(true)
            .max_response_header_size(MAX_HEADER)
            .max_idle_connections(0)
            .timeout_global(Some(self.limits.total))
            .timeout_resolve(idle)
            .timeout_connect(idle)
            .timeout_recv_response(idle)
            .timeout_per_read(idle)
            .timeout_per_write(idle)
            .user_agent(concat!("runstone/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build()
            .new_agent()
    }

    fn send(&self, previous: Option<&Validators>) -> Result<Response<Body>, FetchError> {
        let scheme = self.url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let is_https = match scheme.as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => {
                let reason = "it must start with http:// or https://".to_owned();
                return Err(FetchError::Address { url: for_people(self.url), reason });
            }
        };
        let mut request = self.agent(is_https).get(self.url);
        if let Some(etag) = previous.and_then(|previous| previous.etag.as_deref()) {
            request = request.header(header::IF_NONE_MATCH, etag);
        } else if let Some(date) = previous.and_then(|previous| previous.last_modified.as_deref()) {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        request.call().map_err(|error| self.refused(error))
    }

    /// Streams the body into `file`, which will be at `path`.
    fn receive(
        &self,
        mut body: Body,
        file: &mut NamedTempFile,
        path: &Path,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(ContentHash, u64), FetchError> {
        let url = || for_people(self.url);
        let (limit, total) = (self.limits.bytes, body.content_length());
        let too_large = || FetchError::TooLarge { url: url(), limit };
        if total.is_some_and(|total| total > limit) {
            return Err(too_large());
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        let mut reader = body.as_reader();
        let mut received = 0_u64;
        loop {
            let broken = |reason: String| FetchError::Broken { url: url(), received, total, reason };
            let length = match reader.read(&mut buffer) {
                Ok(0) if total.is_some_and(|total| total != received) => {
                    return Err(broken("the server closed the connection".into()));
                }
                Ok(0) => return Ok((ContentHash::from_bytes(*hasher.finalize().as_bytes()), received)),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(self.explain(ureq::Error::from(error)).0)),
            };
            received += length as u64;
            if received > limit {
                return Err(too_large());
            }
            hasher.update(&buffer[..length]);
            file.write_all(&buffer[..length]).map_err(|source| FetchError::Write { path: path.to_owned(), source })?;
            if progress(Progress { received, total }).is_break() {
                return Err(FetchError::Stopped { url: url() });
            }
        }
    }

    fn refused(&self, error: ureq::Error) -> FetchError {
        let url = for_people(self.url);
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                FetchError::Address { url, reason: "it has characters that must be written as %XX, or no host".into() }
            }
            error => {
                let (reason, transient) = self.explain(error);
                FetchError::Unreachable { url, reason, transient }
            }
        }
    }

    /// What happened, with advice, and whether it may go better the next time.
    fn explain(&self, error: ureq::Error) -> (String, bool) {
        let idle = self.limits.idle.as_secs_f64();
        match error {
            ureq::Error::Timeout(Timeout::Global) => {
                (format!("not done within {} s", self.limits.total.as_secs_f64()), true)
            }
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                (format!("no connection within {idle} s"), true)
            }
            ureq::Error::Timeout(_) => (format!("nothing arrived for {idle} s"), true),
            ureq::Error::HostNotFound => ("no such host: check the address, the network and the proxy".into(), true),
            ureq::Error::TooManyRedirects => (format!("redirected more than {} times", self.limits.redirects), false),
            ureq::Error::RequireHttpsOnly(_) => ("redirected from https to http".into(), false),
            ureq::Error::LargeResponseHeader(..) => (format!("the answer's header exceeds {MAX_HEADER} bytes"), false),
            ureq::Error::Rustls(error) => {
                let advice =
                    "the certificates of this machine are in the package ca-certificates or where SSL_CERT_FILE says";
                (redact(&format!("{error} ({advice})")), false)
            }
            ureq::Error::Io(error) => match error.downcast::<ureq::Error>() {
                Ok(inner) => self.explain(inner),
                Err(error) => (redact(&error.to_string()), true),
            },
            error => (redact(&error.to_string()), false),
        }
    }
}
