//! Opens a database file: refuses what is not ours, brings the schema up to date, sets the connection up.
//!
//! An up-to-date file costs a handful of statements; its pages are not checked here.

use std::path::Path;
use std::time::Duration;

use runstone_core::store::{Result, Store, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{Failure, Outcome, SqliteStore};
use crate::ProjectIdentity;
use crate::migrate::{self, Migration};

/// `RUNS`, in the header of every file of ours.
const APPLICATION_ID: i32 = 0x5255_4e53;

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// More than there are statements, so that each is prepared once.
const CACHED_STATEMENTS: usize = 192;

/// Between two looks at a file that others are making.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Bytes of the write-ahead log that may stay behind: read back in well below a millisecond.
const LONG_LOG: u64 = 1 << 20;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "record", sql: include_str!("../../../../migrations/sqlite/0001_record.sql") },
    Migration { version: 2, name: "service", sql: include_str!("../../../../migrations/sqlite/0002_service.sql") },
    Migration { version: 3, name: "lineage", sql: include_str!("../../../../migrations/sqlite/0003_lineage.sql") },
    Migration { version: 4, name: "asserted", sql: include_str!("../../../../migrations/sqlite/0004_asserted.sql") },
];

/// Why a file is not opened, where SQLite itself has nothing against it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Its locks cannot be relied on there.
    #[error("it is on a network file system ({0}), where SQLite cannot lock safely; use a local disk, or Postgres")]
    NetworkFileSystem(&'static str),
    /// Another program's database.
    #[error("it is a database of another program")]
    Foreign,
}

/// Opens the file, which is made where it does not exist; its folder must exist.
///
/// # Errors
/// As [`crate::connect`].
pub(crate) fn connect(path: &Path, identity: &ProjectIdentity) -> Result<Box<dyn Store>> {
    let open = || -> Outcome<SqliteStore> {
        refuse_network(path)?;
        let mut connection = Connection::open(path)?;
        set_up(&connection)?;
        until_free(|| migrate(&mut connection, path))?;
        let project = project_row(&mut connection, identity)?;
        Ok(SqliteStore { connection, path: path.to_owned(), identity: identity.clone(), project })
    };
    Ok(Box::new(open().map_err(|failure| failure.at(path, "open the database"))?))
}

/// Changing the journal mode of a new file does not wait for other processes that do the same, so we do.
fn until_free(mut work: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let patience = std::time::Instant::now() + BUSY_TIMEOUT;
    loop {
        match work() {
            Err(Failure::Sql(error))
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && std::time::Instant::now() < patience =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            done => return done,
        }
    }
}

fn refused(path: &Path, error: OpenError) -> Failure {
    let context = format!("cannot open the database {}", path.display());
    Failure::Store(StoreError::Database { context, source: Box::new(error) })
}

fn set_up(connection: &Connection) -> Outcome<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16384;",
    )?;
    // Pages of 4 KiB. Fewer checkpoints, each for more commits; `close` keeps what is left small.
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    // Closing would sync twice and delete two files, for every command however short.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// Moves a long log into the database, where nobody else is using it: whoever opens the file next reads what is left of the
/// log once. Nothing is lost where this fails.
pub(super) fn close(connection: &Connection, path: &Path) {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if std::fs::metadata(log).is_ok_and(|log| log.len() > LONG_LOG) && connection.busy_timeout(Duration::ZERO).is_ok() {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).ok();
    }
}

/// Reads the two numbers in the header that say whose file this is and how old its schema; more only where the schema
/// is not the newest.
fn migrate(connection: &mut Connection, path: &Path) -> Outcome<()> {
    let (application, version) = header(connection)?;
    migrate::check_version(MIGRATIONS, if application == APPLICATION_ID { version } else { 0 })?;
    if application == APPLICATION_ID && version == migrate::newest(MIGRATIONS) {
        return Ok(());
    }
    if application != APPLICATION_ID {
        let empty: bool =
            connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?;
        // Another process may be making the same file: ours it is then, once its transaction is through.
        if !(empty && application == 0 && version == 0) && header(connection)?.0 != APPLICATION_ID {
            return Err(refused(path, OpenError::Foreign));
        }
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    }
    apply(connection)
}

fn header(connection: &Connection) -> rusqlite::Result<(i32, i64)> {
    let application = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((application, version))
}

/// Applies what is missing, in one transaction: two processes may come here at once.
fn apply(connection: &mut Connection) -> Outcome<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (
             version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum BLOB NOT NULL, applied TEXT NOT NULL
         ) STRICT;",
    )?;
    let applied = tx
        .prepare("SELECT version, checksum FROM migration ORDER BY version")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for migration in migrate::pending(MIGRATIONS, &applied)? {
        tx.execute_batch(migration.sql)?;
        tx.execute(
            "INSERT INTO migration (version, name, checksum, applied) VALUES (?1, ?2, ?3, datetime('now'))",
            params![migration.version, migration.name, migration.checksum().as_bytes()],
        )?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", migrate::newest(MIGRATIONS))?;
    tx.commit()?;
    Ok(())
}

/// The project's row, made or renamed where need be; a file that has it already is only read.
fn project_row(connection: &mut Connection, identity: &ProjectIdentity) -> Outcome<i64> {
    let known = connection
        .query_row("SELECT id, name FROM project WHERE uuid = ?1", [identity.uuid.as_bytes()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    if let Some((id, name)) = known
        && name == identity.name
    {
        return Ok(id);
    }
    Ok(connection.query_row(
        "INSERT INTO project (uuid, name) VALUES (?1, ?2)
         ON CONFLICT (uuid) DO UPDATE SET name = excluded.name RETURNING id",
        params![identity.uuid.as_bytes(), identity.name],
        |row| row.get(0),
    )?)
}

/// Refuses file systems known to lie about locks. Unknown ones pass.
#[cfg(target_os = "linux")]
fn refuse_network(path: &Path) -> Outcome<()> {
    // Magic numbers of statfs(2), as in linux/magic.h; those missing there are of fs/smb, Lustre and GPFS.
    const NETWORK: [(u64, &str); 9] = [
        (0x6969, "nfs"),
        (0x517b, "smb"),
        (0xff53_4d42, "cifs"),
        (0xfe53_4d42, "smb2"),
        (0x00c3_6400, "ceph"),
        (0x0bd0_0bd0, "lustre"),
        (0x4750_4653, "gpfs"),
        (0x5346_414f, "afs"),
        (0x7375_7245, "coda"),
    ];
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where even this fails, opening says why.
    let Ok(stat) = rustix::fs::statfs(folder) else { return Ok(()) };
    #[expect(clippy::cast_sign_loss, reason = "a bit pattern")]
    let magic = stat.f_type as u64 & 0xffff_ffff;
    match NETWORK.iter().find(|(network, _)| *network == magic) {
        Some((_, name)) => Err(refused(path, OpenError::NetworkFileSystem(name))),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_path: &Path) -> Outcome<()> {
    Ok(())
}
