//! Names of functions, views and settings: which of them a client's statement may use.
//! Judged one by one for DuckDB 2.0.0. What is not named is not let in, where an effect is possible.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Table functions of the engine that a client may call. Any other one is refused, so that one which a later version adds
/// with an effect is not let in unseen. `summary` is left out: DuckDB 2.0.0 ends with the process when its argument is a name. Those that
/// read files are left out as well: without external access the engine still opens the database's own file, its log and what was
/// spilled.
pub(super) const TABLE_FUNCTIONS: [&str; 45] = [
    "duckdb_approx_database_count",
    "duckdb_available_metrics",
    "duckdb_columns",
    "duckdb_connection_count",
    "duckdb_constraints",
    "duckdb_coordinate_systems",
    "duckdb_dependencies",
    "duckdb_dialects",
    "duckdb_eviction_queues",
    "duckdb_functions",
    "duckdb_grammar_extensions",
    "duckdb_indexes",
    "duckdb_keywords",
    "duckdb_memory",
    "duckdb_optimizers",
    "duckdb_schemas",
    "duckdb_secret_types",
    "duckdb_sequences",
    "duckdb_table_sample",
    "duckdb_tables",
    "duckdb_triggers",
    "duckdb_types",
    "duckdb_views",
    "generate_series",
    "icu_calendar_names",
    "json_each",
    "json_tree",
    "pg_timezone_names",
    "pragma_collations",
    "pragma_database_size",
    "pragma_metadata_info",
    "pragma_platform",
    "pragma_show",
    "pragma_storage_info",
    "pragma_table_info",
    "pragma_user_agent",
    "pragma_version",
    "query",
    "query_table",
    "range",
    "repeat",
    "repeat_row",
    "test_all_types",
    "test_vector_types",
    "unnest",
];

/// Views refused wherever their names stand: they show paths, or what others did.
pub(super) const VIEWS: [&str; 4] =
    ["duckdb_databases", "duckdb_logs", "pg_prepared_statements", "pragma_database_list"];

/// Other functions that are refused: macros over such views, and scalar functions that do what no client may do to others.
pub(super) const FUNCTIONS: [&str; 5] =
    ["duckdb_logs_parsed", "duckdb_profiling_settings", "getenv", "sleep_ms", "write_log"];

/// The server's own functions.
pub(super) const INTERNAL: [&str; 4] =
    ["pintail_about", "pintail_describe", "pintail_segment", "pintail_rows"];

/// Functions that change what is stored.
pub(super) const CHANGING: [&str; 2] = ["nextval", "setval"];

/// Functions that look a table up by a text.
pub(super) const BY_NAME: [&str; 3] = ["histogram", "histogram_values", "query_table"];

/// Parts of the names of settings that hold a path, an address or what others did.
pub(super) const SECRET_SETTINGS: [&str; 14] = [
    "dir",
    "path",
    "file",
    "log",
    "profil",
    "secret",
    "proxy",
    "repositor",
    "extension",
    "user",
    "password",
    "config",
    "output",
    "pintail",
];

/// Statements that are the body of a CTE and change rows, or write a file.
pub(super) const BODIES: [&str; 6] = ["copy", "delete", "insert", "merge", "truncate", "update"];

/// Every function of DuckDB 2.0.0, its time zone extension included; each was looked at. One that a later version adds is
/// refused until it stands here.
const KNOWN: &str = include_str!("functions.txt");

/// Whether a function of the engine's has been looked at. The server's own are no client's matter.
pub(super) fn is_listed(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| KNOWN.lines().collect());
    name.starts_with("pintail_") || NAMES.contains(name)
}
