//! One connection to a server, and transactions that survive its loss.
//!
//! Nothing is kept in a session of the server: every transaction sets what it needs with `SET LOCAL`, so that a pooler in
//! transaction mode may hand each one to another server process. Knows no table.

use std::time::{Duration, Instant};

use runstone_core::store::{Result, StoreError};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, Executor, Postgres, Row};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::failure::{Failure, Recovery};
use super::target::Target;

/// How statements that find their rows by key are planned: nested loops over indexes, joined in the order in which they are
/// written. They are planned before the server has counted the tables, and kept while the tables grow: a plan that is
/// the cheapest for ten rows must not be the one for ten million.
macro_rules! by_key {
    () => {
        "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; \
         SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off; SET LOCAL join_collapse_limit = 1; \
         SET LOCAL jit = off; "
    };
}

/// Begins a transaction that writes. A commit is durable when it is answered, also where the server's default says
/// otherwise.
const BEGIN_WRITE: &str = concat!(
    "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL search_path = runstone; ",
    "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '5s'; ",
    "SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL plan_cache_mode = force_generic_plan; ",
    by_key!(),
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
);

/// Begins a transaction that looks rows up by key, all its statements at the same moment.
const BEGIN_READ: &str = concat!(
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL search_path = runstone; ",
    "SET LOCAL statement_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = '10s'; ",
    by_key!()
);

/// Begins a transaction that looks at whole tables: its plans are the server's business.
const BEGIN_SCAN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
    SET LOCAL search_path = runstone; SET LOCAL statement_timeout = '10min'; \
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Begins a change of the schema, which may take its time.
const BEGIN_MIGRATE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; \
    SET LOCAL search_path = runstone; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '5s'";

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Write,
    Read,
    Scan,
    Migrate,
}

impl Purpose {
    const fn begin(self) -> &'static str {
        match self {
            Self::Write => BEGIN_WRITE,
            Self::Read => BEGIN_READ,
            Self::Scan => BEGIN_SCAN,
            Self::Migrate => BEGIN_MIGRATE,
        }
    }

    /// How long to wait for one attempt at the transaction before its connection is given up: longer than the server
    /// would work on it, so that it ends only what a dead network left open.
    const fn limit(self) -> Duration {
        match self {
            Self::Write => Duration::from_secs(45),
            Self::Read => Duration::from_secs(90),
            Self::Scan => Duration::from_secs(900),
            Self::Migrate => Duration::from_secs(24 * 3600),
        }
    }
}

/// Why a transaction is not to be committed.
#[derive(Debug)]
pub(super) enum TxError {
    /// The server or the way to it; perhaps worth another attempt.
    Sql(sqlx::Error),
    /// What the caller is told.
    Store(StoreError),
}

impl From<sqlx::Error> for TxError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for TxError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Shorthand.
pub(super) type TxResult<T> = std::result::Result<T, TxError>;

/// What a transaction that may be repeated found.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    /// It did its work, to be committed now.
    Fresh(T),
    /// An earlier attempt whose answer was lost had been committed.
    AlreadyApplied,
}

/// A transaction.
pub(super) struct Tx<'c> {
    connection: &'c mut PgConnection,
    persistent: bool,
}

impl Tx<'_> {
    /// A statement; its plan is kept where the connection allows it.
    pub(super) fn query(&self, sql: &'static str) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(sql).persistent(self.persistent)
    }

    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> TxResult<u64> {
        Ok(query.execute(&mut *self.connection).await?.rows_affected())
    }

    /// Runs a statement and takes all its rows.
    pub(super) async fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> TxResult<Vec<PgRow>> {
        Ok(query.fetch_all(&mut *self.connection).await?)
    }

    /// Runs a statement that has at most one row.
    pub(super) async fn row(&mut self, query: Query<'_, Postgres, PgArguments>) -> TxResult<Option<PgRow>> {
        Ok(query.fetch_optional(&mut *self.connection).await?)
    }

    /// The number of this transaction; none where it has written and locked nothing.
    async fn number(&mut self) -> TxResult<Option<String>> {
        let query = self.query("SELECT pg_current_xact_id_if_assigned()::text AS number");
        self.row(query).await?.map_or(Ok(None), |row| Ok(row.try_get("number")?))
    }

    /// Whether an earlier transaction, of any connection, was committed. The server knows for long enough: for as many
    /// transactions as fit between two rounds of the vacuum that freezes rows, and across a crash.
    async fn was_committed(&mut self, number: &str) -> TxResult<bool> {
        let query = self.query("SELECT pg_xact_status($1::text::xid8) AS status").bind(number.to_owned());
        let status: Option<String> = self.row(query).await?.map_or(Ok(None), |row| row.try_get("status"))?;
        match status.as_deref() {
            Some("committed") => Ok(true),
            Some("aborted") => Ok(false),
            // The server works on it still, and has not noticed that nobody listens.
            _ => Err(silent()),
        }
    }

    /// Runs statements without parameters.
    pub(super) async fn script(&mut self, sql: &'static str) -> TxResult<()> {
        self.connection.execute(sqlx::raw_sql(sql)).await?;
        Ok(())
    }
}

/// A connection that is made again when it was lost.
pub(super) struct Session {
    runtime: Runtime,
    target: Target,
    connection: Option<PgConnection>,
    /// Whether statements keep their names on the server. Off behind a pooler that cannot keep them apart.
    persistent: bool,
    /// Whether the server was ever reached: what was never reached is not waited for.
    reached: bool,
}

impl Session {
    /// Prepares for a server; connects at the first transaction.
    pub(super) fn new(target: Target) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|source| {
            StoreError::Database { context: format!("prepare for {}", target.shown()), source: Box::new(source) }
        })?;
        let persistent = target.keeps_statements();
        Ok(Self { runtime, target, connection: None, persistent, reached: false })
    }

    /// Another connection to the same server, which is known to exist.
    pub(super) fn another(&self) -> Result<Self> {
        let mut session = Self::new(self.target.clone())?;
        (session.persistent, session.reached) = (self.persistent, self.reached);
        Ok(session)
    }

    /// Where this is.
    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// Runs a transaction that changes nothing twice, whatever is lost on the way. `doing` completes "could not …".
    pub(super) fn run<T>(
        &mut self,
        purpose: Purpose,
        doing: &str,
        mut work: impl AsyncFnMut(&mut Tx<'_>) -> TxResult<T>,
    ) -> Result<T> {
        self.run_once(purpose, doing, async |tx| work(tx).await.map(Outcome::Fresh))
    }

    /// Runs a transaction until its outcome is known. Where the answer to a commit was lost, `work` is called again: it
    /// says [`Outcome::AlreadyApplied`] when it finds its own traces, and the result of that earlier attempt is returned.
    /// Only where the server does not come back in time does the outcome stay unknown; the error says so.
    pub(super) fn run_once<T>(
        &mut self,
        purpose: Purpose,
        doing: &str,
        mut work: impl AsyncFnMut(&mut Tx<'_>) -> TxResult<Outcome<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + self.target.patience();
        let mut in_doubt = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.attempt(purpose, &mut work, &mut in_doubt) {
                Ok(result) => return Ok(result),
                Err(TxError::Store(error)) => return Err(error),
                Err(TxError::Sql(error)) => Failure::of(error, purpose),
            };
            let waiting = jittered(pause);
            let retry = match failure.recovery() {
                Recovery::None => false,
                Recovery::Unname => std::mem::replace(&mut self.persistent, false),
                Recovery::Again | Recovery::Reconnect => Instant::now() + waiting < deadline,
                Recovery::Reach => self.reached && Instant::now() + waiting < deadline,
            };
            if failure.recovery() != Recovery::Again {
                self.connection = None;
            }
            if !retry {
                return Err(failure.told(doing, &self.target, in_doubt.is_some()));
            }
            std::thread::sleep(waiting);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs a transaction that writes until its outcome is known, as [`Session::run_once`] does. `work` need not know its own
    /// traces: where the answer to a commit was lost, the server is asked what became of that transaction.
    pub(super) fn run_exactly_once<T>(
        &mut self,
        doing: &str,
        mut work: impl AsyncFnMut(&mut Tx<'_>) -> TxResult<T>,
    ) -> Result<T> {
        let mut in_doubt: Option<String> = None;
        self.run_once(Purpose::Write, doing, async |tx| {
            if let Some(earlier) = &in_doubt {
                if tx.was_committed(earlier).await? {
                    return Ok(Outcome::AlreadyApplied);
                }
                in_doubt = None;
            }
            let result = work(tx).await?;
            in_doubt = tx.number().await?;
            Ok(Outcome::Fresh(result))
        })
    }

    fn attempt<T>(
        &mut self,
        purpose: Purpose,
        work: &mut impl AsyncFnMut(&mut Tx<'_>) -> TxResult<Outcome<T>>,
        in_doubt: &mut Option<T>,
    ) -> TxResult<T> {
        let Self { runtime, target, connection, persistent, reached } = self;
        let attempt = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => connect(target.options()).await?,
            };
            *reached = true;
            // The connection goes back only after a clean end: whatever else happens, dropping it ends the transaction.
            let result = transact(&mut open, *persistent, purpose, work, in_doubt).await?;
            *connection = Some(open);
            result
        };
        let answer = runtime.block_on(async { tokio::time::timeout(purpose.limit(), attempt).await });
        answer.unwrap_or_else(|_| Err(silent()))
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Half to all of a pause, so that many clients of a server that comes back do not come at once.
fn jittered(pause: Duration) -> Duration {
    let random = u32::from(Uuid::now_v7().as_bytes()[15]);
    pause / 2 + pause * random / 512
}

async fn connect(options: &PgConnectOptions) -> TxResult<PgConnection> {
    const LIMIT: Duration = Duration::from_secs(15);
    match tokio::time::timeout(LIMIT, options.connect()).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(silent()),
    }
}

/// The server, or something on the way to it, does not say anything any more.
fn silent() -> TxError {
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer from the server");
    TxError::Sql(sqlx::Error::Io(error))
}

/// One transaction. The outer error leaves the connection in an unknown state; the inner one is after a clean rollback.
async fn transact<T>(
    connection: &mut PgConnection,
    persistent: bool,
    purpose: Purpose,
    work: &mut impl AsyncFnMut(&mut Tx<'_>) -> TxResult<Outcome<T>>,
    in_doubt: &mut Option<T>,
) -> TxResult<TxResult<T>> {
    connection.execute(sqlx::raw_sql(purpose.begin())).await?;
    let done = work(&mut Tx { connection: &mut *connection, persistent }).await;
    match done {
        Ok(Outcome::Fresh(result)) => {
            *in_doubt = Some(result);
            connection.execute(sqlx::raw_sql("COMMIT")).await?;
        }
        Ok(Outcome::AlreadyApplied) => {
            connection.execute(sqlx::raw_sql("ROLLBACK")).await?;
        }
        Err(error) => {
            connection.execute(sqlx::raw_sql("ROLLBACK")).await?;
            return Ok(Err(error));
        }
    }
    let unknown = || StoreError::Damaged("a change was applied that nobody asked for".to_owned());
    Ok(in_doubt.take().ok_or_else(|| unknown().into()))
}

/// Closes politely, so that the server's log stays clean.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // A connection that cannot be closed is gone anyway.
            let closing = async { tokio::time::timeout(Duration::from_secs(1), connection.close()).await };
            drop(self.runtime.block_on(closing));
        }
    }
}
