//! GetSqlInfo -> what this server and DuckDB's SQL can do, code by code.
//! Runs on: the thread of a query; pure.
//! Never: answers a code that FlightSql.proto does not define, or in another type than it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::{
    CommandGetSqlInfo, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity,
    SqlSupportedElementActions, SqlSupportedGroupBy, SqlSupportedResultSetConcurrency,
    SqlSupportedResultSetType, SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions,
    SqlSupportsConvert, SqlTransactionIsolationLevel, SupportedSqlGrammar,
};

use super::built::encoded;
use super::{pattern, words};
use crate::error::Result;

/// DuckDB gives every transaction a snapshot. That admits write skew, so it is not SERIALIZABLE.
const ISOLATION: SqlTransactionIsolationLevel = SqlTransactionIsolationLevel::SqlTransactionRepeatableRead;
/// ANSI92_ENTRY_SQL, the lowest level; arrow-flight keeps the enum to itself.
const ANSI92_ENTRY: i32 = 0;
/// Stands for "no limit, or not known" where a number is asked for.
const UNLIMITED: i64 = 0;

/// Schema of the answer.
pub(super) fn schema() -> SchemaRef {
    Arc::new(SqlInfoDataBuilder::schema().clone())
}

/// The codes asked for, or all of them when none is. Codes that do not exist are left out.
pub(super) fn answer(command: &CommandGetSqlInfo) -> Result<RecordBatch> {
    let mut info = command.info.clone();
    // The builder compares every code with all the others: keep the list as short as the truth.
    info.retain(|code| i32::try_from(*code).is_ok_and(|code| SqlInfo::try_from(code).is_ok()));
    info.sort_unstable();
    info.dedup();
    if info.is_empty() && !command.info.is_empty() {
        return Ok(RecordBatch::new_empty(schema()));
    }
    let mut builder = SqlInfoDataBuilder::new();
    server(&mut builder);
    syntax(&mut builder);
    support(&mut builder);
    names(&mut builder);
    limits(&mut builder);
    transactions_and_results(&mut builder);
    encoded(CommandGetSqlInfo { info }.into_builder(&encoded(builder.build())?).build())
}

/// An int32 bitmask of `options`, which number the bits.
fn bits<const N: usize>(options: [i32; N]) -> i32 {
    options.into_iter().fold(0, |mask, option| mask | 1 << option)
}

fn server(builder: &mut SqlInfoDataBuilder) {
    builder.append(SqlInfo::FlightSqlServerName, "Pintail");
    builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    builder.append(SqlInfo::FlightSqlServerReadOnly, false);
    builder.append(SqlInfo::FlightSqlServerSql, true);
    builder.append(SqlInfo::FlightSqlServerSubstrait, false);
    // The value cannot be null; empty says that there is no version.
    builder.append(SqlInfo::FlightSqlServerSubstraitMinVersion, "");
    builder.append(SqlInfo::FlightSqlServerSubstraitMaxVersion, "");
    builder.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::Transaction as i32);
    builder.append(SqlInfo::FlightSqlServerCancel, true);
    builder.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    builder.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, true);
    builder.append(SqlInfo::FlightSqlServerStatementTimeout, 0_i32);
    builder.append(SqlInfo::FlightSqlServerTransactionTimeout, 0_i32);
}

fn syntax(builder: &mut SqlInfoDataBuilder) {
    // A catalog is a database file; ATTACH is denied, and CREATE DATABASE does not exist.
    builder.append(SqlInfo::SqlDdlCatalog, false);
    builder.append(SqlInfo::SqlDdlSchema, true);
    builder.append(SqlInfo::SqlDdlTable, true);
    // Names keep their case and are compared without it, in quotes as well.
    let any_case = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32;
    builder.append(SqlInfo::SqlIdentifierCase, any_case);
    builder.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    builder.append(SqlInfo::SqlQuotedIdentifierCase, any_case);
    builder.append(SqlInfo::SqlAllTablesAreSelectable, true);
    builder.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedAtEnd as i32);
    builder.append(SqlInfo::SqlKeywords, words::list(words::KEYWORDS));
    builder.append(SqlInfo::SqlNumericFunctions, words::list(words::NUMERIC_FUNCTIONS));
    builder.append(SqlInfo::SqlStringFunctions, words::list(words::STRING_FUNCTIONS));
    builder.append(SqlInfo::SqlSystemFunctions, words::list(words::SYSTEM_FUNCTIONS));
    builder.append(SqlInfo::SqlDatetimeFunctions, words::list(words::DATETIME_FUNCTIONS));
    builder.append(SqlInfo::SqlSearchStringEscape, pattern::ESCAPE.to_string().as_str());
    builder.append(SqlInfo::SqlExtraNameCharacters, "$");
}

fn support(builder: &mut SqlInfoDataBuilder) {
    builder.append(SqlInfo::SqlSupportsColumnAliasing, true);
    builder.append(SqlInfo::SqlNullPlusNullIsNull, true);
    builder.append(SqlInfo::SqlSupportsConvert, conversions());
    builder.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    // A correlation name may differ from the table's name; it need not.
    builder.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    builder.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    builder.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    let group_by = [SqlSupportedGroupBy::SqlGroupByUnrelated, SqlSupportedGroupBy::SqlGroupByBeyondSelect];
    builder.append(SqlInfo::SqlSupportedGroupBy, bits(group_by.map(i32::from)));
    builder.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    builder.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    // ODBC's extended grammar wants positioned updates, SELECT FOR UPDATE and procedures.
    let grammar = [SupportedSqlGrammar::SqlMinimumGrammar, SupportedSqlGrammar::SqlCoreGrammar];
    builder.append(SqlInfo::SqlSupportedGrammar, bits(grammar.map(i32::from)));
    builder.append(SqlInfo::SqlAnsi92SupportedLevel, bits([ANSI92_ENTRY]));
    builder.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, true);
    let joins = SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32;
    builder.append(SqlInfo::SqlOuterJoinsSupportLevel, joins);
    builder.append(SqlInfo::SqlSupportedPositionedCommands, 0_i32);
    builder.append(SqlInfo::SqlSelectForUpdateSupported, false);
    builder.append(SqlInfo::SqlStoredProceduresSupported, false);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons,
        SqlSupportedSubqueries::SqlSubqueriesInExists,
        SqlSupportedSubqueries::SqlSubqueriesInIns,
        SqlSupportedSubqueries::SqlSubqueriesInQuantifieds,
    ];
    builder.append(SqlInfo::SqlSupportedSubqueries, bits(subqueries.map(i32::from)));
    builder.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    let unions = [SqlSupportedUnions::SqlUnion, SqlSupportedUnions::SqlUnionAll];
    builder.append(SqlInfo::SqlSupportedUnions, bits(unions.map(i32::from)));
    builder.append(SqlInfo::SqlNamedParametersSupported, true);
    // What a client changes is its own copy of a value.
    builder.append(SqlInfo::SqlLocatorsUpdateCopy, true);
    builder.append(SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false);
}

fn names(builder: &mut SqlInfoDataBuilder) {
    builder.append(SqlInfo::SqlSchemaTerm, "schema");
    builder.append(SqlInfo::SqlProcedureTerm, "procedure");
    builder.append(SqlInfo::SqlCatalogTerm, "database");
    builder.append(SqlInfo::SqlCatalogAtStart, true);
    // There are neither procedures nor privileges to name a schema in.
    let actions = bits([SqlSupportedElementActions::SqlElementInIndexDefinitions as i32]);
    builder.append(SqlInfo::SqlSchemasSupportedActions, actions);
    builder.append(SqlInfo::SqlCatalogsSupportedActions, actions);
}

fn limits(builder: &mut SqlInfoDataBuilder) {
    for code in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxCharLiteralLength,
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatementLength,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxTableNameLength,
        SqlInfo::SqlMaxTablesInSelect,
        SqlInfo::SqlMaxUsernameLength,
    ] {
        builder.append(code, UNLIMITED);
    }
    builder.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, true);
}

fn transactions_and_results(builder: &mut SqlInfoDataBuilder) {
    builder.append(SqlInfo::SqlDefaultTransactionIsolation, ISOLATION as i32);
    builder.append(SqlInfo::SqlTransactionsSupported, true);
    builder.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, bits([ISOLATION as i32]));
    // Definitions take part in transactions like everything else.
    builder.append(SqlInfo::SqlDataDefinitionCausesTransactionCommit, false);
    builder.append(SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false);
    let forward = SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32;
    builder.append(SqlInfo::SqlSupportedResultSetTypes, bits([forward]));
    let read_only = SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32;
    builder.append(SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0_i32);
    builder.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, bits([read_only]));
    builder.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0_i32);
    builder.append(SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0_i32);
    builder.append(SqlInfo::SqlBatchUpdatesSupported, true);
    builder.append(SqlInfo::SqlSavepointsSupported, false);
}

/// What CAST takes, by the ODBC name of the type. Casts that depend on the value, such as text to a number,
/// are among them.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    use SqlSupportsConvert as C;
    // DuckDB's BOOLEAN is ODBC's BIT.
    let numbers = [
        C::SqlConvertBigint,
        C::SqlConvertBit,
        C::SqlConvertDecimal,
        C::SqlConvertFloat,
        C::SqlConvertInteger,
        C::SqlConvertNumeric,
        C::SqlConvertReal,
        C::SqlConvertSmallint,
        C::SqlConvertTinyint,
    ];
    let texts = [C::SqlConvertChar, C::SqlConvertLongvarchar, C::SqlConvertVarchar];
    let binaries = [C::SqlConvertBinary, C::SqlConvertLongvarbinary, C::SqlConvertVarbinary];
    let intervals = [C::SqlConvertIntervalDayTime, C::SqlConvertIntervalYearMonth];
    let times = [C::SqlConvertDate, C::SqlConvertTime, C::SqlConvertTimestamp];
    let everything = [&numbers[..], &texts, &binaries, &intervals, &times].concat();

    let mut map = BTreeMap::new();
    let mut put = |from: &[C], to: &[C]| {
        // Everything can be written as text.
        let mut to: Vec<i32> = to.iter().chain(&texts).map(|code| *code as i32).collect();
        to.sort_unstable();
        to.dedup();
        for code in from {
            map.insert(*code as i32, to.clone());
        }
    };
    put(&numbers, &numbers);
    put(&texts, &everything);
    put(&binaries, &binaries);
    put(&intervals, &intervals);
    put(&[C::SqlConvertDate], &[C::SqlConvertDate, C::SqlConvertTimestamp]);
    put(&[C::SqlConvertTime], &[C::SqlConvertTime]);
    put(&[C::SqlConvertTimestamp], &times);
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray, UnionArray};
    use arrow::datatypes::{Int32Type, UInt32Type};

    fn asked(info: &[u32]) -> RecordBatch {
        answer(&CommandGetSqlInfo { info: info.to_vec() }).unwrap()
    }

    fn codes(batch: &RecordBatch) -> Vec<u32> {
        batch.column(0).as_primitive::<UInt32Type>().values().to_vec()
    }

    fn values(batch: &RecordBatch) -> &UnionArray {
        batch.column(1).as_any().downcast_ref().unwrap()
    }

    #[test]
    fn every_code_of_the_protocol_is_answered_and_no_other() {
        let defined: Vec<u32> =
            (0..20_000).filter(|code| SqlInfo::try_from(*code).is_ok()).map(|code| code as u32).collect();
        assert_eq!(codes(&asked(&[])), defined);
        for code in (0..=11).chain([100, 101]).chain(500..=576) {
            assert!(defined.contains(&code), "{code}");
        }
    }

    #[test]
    fn values_are_of_the_type_the_protocol_asks_for() {
        let batch = asked(&[0, 8, 100, 508, 517, 548, 562, 563]);
        assert_eq!(codes(&batch), [0, 8, 100, 508, 517, 548, 562, 563]);
        // string, int32 bitmask, int32 bitmask, string list, map, bigint, int32 bitmask, bool
        assert_eq!(values(&batch).type_ids().to_vec(), [0, 3, 3, 4, 5, 2, 3, 1]);
        assert_eq!(values(&batch).value(0).as_string::<i32>().value(0), "Pintail");
        assert_eq!(values(&batch).value(1).as_primitive::<Int32Type>().value(0), 1);
    }

    #[test]
    fn only_what_is_asked_for_comes_back() {
        assert_eq!(codes(&asked(&[513, 2, 513, 12, 10_000, u32::MAX])), [2, 513]);
        assert_eq!(asked(&[12, 10_000]).num_rows(), 0);
    }

    #[test]
    fn masks_and_lists_hold_what_they_should() {
        let mask = |code: u32| values(&asked(&[code])).value(0).as_primitive::<Int32Type>().value(0);
        assert_eq!((mask(522), mask(525), mask(526)), (0b11, 0b11, 0b1));
        assert_eq!((mask(538), mask(540), mask(567), mask(569)), (0b1111, 0b11, 0b10, 0b10));
        assert_eq!((mask(562), mask(564)), (3, 0b1000));
        let keywords = values(&asked(&[508])).value(0);
        let keywords = keywords.as_list::<i32>().value(0);
        assert!(keywords.as_string::<i32>().iter().flatten().any(|word| word == "qualify"));
        let map = conversions();
        assert_eq!(map.len(), 20);
        assert_eq!(map[&(SqlSupportsConvert::SqlConvertTime as i32)], [3, 11, 15, 19]);
        assert_eq!(map[&(SqlSupportsConvert::SqlConvertVarchar as i32)].len(), 20);
    }
}
