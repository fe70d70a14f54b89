//! What the suite asks of a database.

use runstone_core::store::Store;
use runstone_store::ProjectIdentity;

use crate::conformance::Backend;
use crate::postgres::Database;

impl Backend for Database<'_> {
    fn open(&self, project: &ProjectIdentity) -> Box<dyn Store> {
        self.connect(project)
    }

    fn dump(&self) -> Vec<String> {
        let mut admin = self.admin();
        let tables = admin.lines("SELECT tablename::text FROM pg_tables WHERE schemaname = 'runstone' ORDER BY 1");
        let mut lines = Vec::new();
        for table in tables {
            // Token and time of the last batch say that one was applied, not what it did.
            let rows = admin
                .lines(&format!("SELECT (to_jsonb(t) - 'batch' - 'written')::text FROM runstone.{table} t ORDER BY 1"));
            lines.extend(rows.into_iter().map(|row| format!("{table} {row}")));
        }
        lines
    }

    fn damage(&self, sql: &str) -> bool {
        let mut admin = self.admin();
        let checks = admin.lines(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint \
             WHERE contype = 'c' AND connamespace = 'runstone'::regnamespace",
        );
        for check in checks {
            admin.execute(&check);
        }
        // A replica trusts what it is told: neither triggers nor foreign keys look.
        admin.execute("SET session_replication_role = replica; SET search_path = runstone");
        admin.try_execute(sql).is_ok()
    }
}
