//! What a failure means: whether the transaction may be tried again, and how it is told.
//!
//! Every transaction is safe to repeat, so the question is only whether that can help.
//! Codes: PostgreSQL manual, appendix A.

use runstone_core::store::StoreError;

use super::session::Purpose;
use super::target::Target;

/// What may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Nothing.
    None,
    /// The same again on the same connection: another transaction was in the way.
    Again,
    /// The same again on a new connection.
    Reconnect,
    /// The same once the server can be reached.
    Reach,
    /// The same without named statements: a pooler mixes them up.
    Unname,
}

/// A failure of the server or of the way to it.
#[derive(Debug)]
pub(super) struct Failure {
    error: sqlx::Error,
    recovery: Recovery,
}

impl Failure {
    pub(super) fn of(error: sqlx::Error, purpose: Purpose) -> Self {
        let recovery = match &error {
            sqlx::Error::Io(_) => Recovery::Reach,
            // An unexpected message: the stream is out of step, as when a proxy died half-way.
            sqlx::Error::Protocol(_) | sqlx::Error::BeginFailed => Recovery::Reconnect,
            sqlx::Error::Database(error) => error.code().map_or(Recovery::None, |code| of_code(&code, purpose)),
            _ => Recovery::None,
        };
        Self { error, recovery }
    }

    pub(super) const fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// The error as the caller sees it; `in_doubt`: a commit was sent, and nobody knows what became of it. Neither part
    /// holds a password: the target hides it, and the driver's errors name hosts and users at most.
    pub(super) fn told(self, doing: &str, target: &Target, in_doubt: bool) -> StoreError {
        let doubt = if in_doubt { " (it may have been done: the answer was lost)" } else { "" };
        let context = format!("could not {doing} in {}{doubt}", target.shown());
        StoreError::Database { context, source: Box::new(self.error) }
    }
}

fn of_code(code: &str, purpose: Purpose) -> Recovery {
    match code {
        // unique_violation, duplicate_schema, duplicate_table: another process made the schema at the same time
        "23505" | "42P06" | "42P07" if purpose == Purpose::Migrate => Recovery::Again,
        // serialization_failure, deadlock_detected, lock_not_available, query_canceled (statement_timeout)
        "40001" | "40P01" | "55P03" | "57014" => Recovery::Again,
        // duplicate_prepared_statement, invalid_sql_statement_name
        "42P05" | "26000" => Recovery::Unname,
        // cannot_connect_now: the server is starting or stopping
        "57P03" => Recovery::Reconnect,
        // admin_shutdown, crash_shutdown; idle_in_transaction_session_timeout, transaction_timeout;
        // read_only_sql_transaction: a standby, soon to be promoted or the wrong one;
        // feature_not_supported: "cached plan must not change result type", after a migration
        "57P01" | "57P02" | "25P03" | "25P04" | "25006" | "0A000" => Recovery::Reconnect,
        // connection exceptions; insufficient resources, such as connections, memory or disk
        _ if code.starts_with("08") || code.starts_with("53") => Recovery::Reconnect,
        _ => Recovery::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let code = |code| of_code(code, Purpose::Write);
        assert_eq!(code("40P01"), Recovery::Again);
        assert_eq!(code("57P01"), Recovery::Reconnect);
        assert_eq!(code("08006"), Recovery::Reconnect);
        assert_eq!(code("53100"), Recovery::Reconnect);
        assert_eq!(code("26000"), Recovery::Unname);
        for lasting in ["23505", "28P01", "3D000", "42501", "22021"] {
            assert_eq!(code(lasting), Recovery::None, "{lasting}");
        }
        assert_eq!(of_code("23505", Purpose::Migrate), Recovery::Again);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::of(sqlx::Error::Io(refused), Purpose::Read).recovery(), Recovery::Reach);
    }
}
