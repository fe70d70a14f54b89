//! The conformance suite on a real Postgres server.

#[cfg(test)]
mod conformance;
mod postgres;
#[path = "postgres/backend.rs"]
mod postgres_backend;

fn fresh() -> postgres::Database<'static> {
    postgres::Database::new(postgres::Server::shared())
}

// The block returns from the test where Postgres is to be left out.
conformance!({
    if postgres::skipped() {
        return;
    }
    fresh
});
