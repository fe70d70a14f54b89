//! Which server, and how patient to be with it: the URL as people write it, taken apart once.

use std::fmt;
use std::time::Duration;

use runstone_core::store::{Result, StoreError};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::location::redact;

/// How long a transaction is tried again while the server cannot be reached, unless the URL says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The one parameter of the URL that is ours: `retry-seconds=N`.
const RETRY_SECONDS: &str = "retry-seconds";

/// A server and database. `Debug` does not tell the password.
#[derive(Clone)]
pub(super) struct Target {
    options: PgConnectOptions,
    patience: Duration,
    keeps_statements: bool,
    shown: String,
}

impl Target {
    /// Reads a `postgres://` URL. `statement-cache-capacity=0` turns named statements off, for poolers in transaction
    /// mode; `retry-seconds=N` says how long a lost server is waited for.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let shown = redact(url);
        let invalid = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Database {
            context: format!("could not understand {shown}"),
            source,
        };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (ours, theirs): (Vec<&str>, Vec<&str>) = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .partition(|pair| pair.split_once('=').is_some_and(|(key, _)| key == RETRY_SECONDS));
        let patience = match ours.last().and_then(|pair| pair.split_once('=')) {
            Some((_, seconds)) => Duration::from_secs(seconds.parse::<u32>().map_err(|e| invalid(e.into()))?.into()),
            None => PATIENCE,
        };
        let options: PgConnectOptions =
            format!("{base}?{}", theirs.join("&")).parse().map_err(|error: sqlx::Error| invalid(error.into()))?;
        let keeps_statements = !theirs.contains(&"statement-cache-capacity=0");
        let name = options.get_application_name().unwrap_or("runstone").to_owned();
        // Poolers refuse start-up parameters they do not know, and binary floats need no digits.
        let options = options.application_name(&name).extra_float_digits(None).disable_statement_logging();
        Ok(Self { options, patience, keeps_statements, shown })
    }

    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// How long a transaction is tried again.
    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether statements may keep their names on the server.
    pub(super) const fn keeps_statements(&self) -> bool {
        self.keeps_statements
    }

    /// For people, without a password.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_parameters_are_taken_and_the_rest_is_passed_on() {
        let url =
            "postgres://ann:hunter2@db.example:6432/lab?retry-seconds=7&statement-cache-capacity=0&sslmode=require";
        let target = Target::parse(url).unwrap();
        assert_eq!(target.patience(), Duration::from_secs(7));
        assert!(!target.keeps_statements());
        assert_eq!((target.options().get_host(), target.options().get_port()), ("db.example", 6432));
        assert!(!format!("{target:?} {}", target.shown()).contains("hunter2"));
        assert!(Target::parse("postgres://localhost/lab").unwrap().keeps_statements());
    }

    #[test]
    fn nonsense_is_refused_without_telling_the_password() {
        for url in ["postgres://ann:hunter2@h:port/lab", "postgres://ann:hunter2@h/lab?retry-seconds=soon"] {
            let error = Target::parse(url).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
