//! Whether a connection has temporary objects, which live and die with it.

use crate::connection::Connection;
use crate::error::Result;
use crate::read::query;

impl Connection {
    /// Whether the connection holds temporary tables, views or other objects, which live and die with it.
    pub fn has_temporaries(&self) -> Result<bool> {
        // Looking costs milliseconds, and most connections never see one.
        if !self.may_hold_temporaries {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM (SELECT temporary FROM duckdb_tables() UNION ALL \
                   SELECT temporary FROM duckdb_views() WHERE NOT internal UNION ALL \
                   SELECT temporary FROM duckdb_sequences()) WHERE temporary UNION ALL \
                   SELECT 1 FROM duckdb_functions() WHERE NOT internal AND database_name = 'temp' UNION ALL \
                   SELECT 1 FROM duckdb_types() WHERE NOT internal AND database_name = 'temp' LIMIT 1";
        Ok(query(self, sql)?.iter().any(|batch| batch.num_rows() > 0))
    }
}
