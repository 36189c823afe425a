//! DuckDB's keywords and functions by name, for GetSqlInfo.
//! Never: names what an extension brings that this server does not have, such as icu.
//!
//! From DuckDB 2.0.0: `SELECT DISTINCT keyword_name FROM duckdb_keywords()`, and a choice of what
//! `FROM duckdb_functions()` lists as scalar functions and macros of the core.

/// The words of a list.
pub(super) fn list(words: &str) -> Vec<String> {
    words.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Every keyword, reserved or not.
pub(super) const KEYWORDS: &str = "\
    abort absolute access action add admin after aggregate all also alter always analyse analyze and anti \
    any approx array as asc asof assertion assignment asymmetric at attach attribute authorization \
    backward before begin between bigint binary bit boolean both by cache call called cascade cascaded \
    case cast catalog centuries century chain char character characteristics check checkpoint class close \
    cluster coalesce collate collation column columns comment comments commit committed compression \
    concurrently configuration conflict connect connection constraint constraints content continue \
    conversion copy cost create cross csv cube current cursor cycle data database day days deallocate dec \
    decade decades decimal declare default defaults deferrable deferred definer delete delimiter \
    delimiters depends desc describe destroy detach dictionary disable discard disconnect distance \
    distinct do document domain double drop each else enable encoding encrypted end enum error escape \
    event exact except exclude excluding exclusive execute exists explain export export_state extension \
    extensions external extract false family fetch filter first float following for force foreign forward \
    freeze from full function functions generated glob global grant granted group grouping grouping_id \
    groups handler having header hold hour hours identity if ignore ilike immediate immutable implicit \
    import in include including increment index indexes inherit inherits initially inline inner inout \
    input insensitive insert install instead int integer intersect interval into invoker is isnull \
    isolation join json key label lambda language large last lateral leading leakproof left level like \
    limit listen load local location lock locked logged macro map mapping match matched materialized \
    maxvalue merge method microsecond microseconds millennia millennium millisecond milliseconds minute \
    minutes minvalue mode month months move name names national natural nchar nearest new next no none not \
    nothing notify notnull nowait null nullif nulls numeric object of off offset oids old on only operator \
    option options or order ordinality others out outer over overlaps overlay overriding owned owner \
    parallel parser partial partition partitioned passing password percent persistent pivot pivot_longer \
    pivot_wider placing plans policy position positional pragma preceding precision prepare prepared \
    preserve primary prior privileges procedural procedure program publication qualify quarter quarters \
    quote range read real reassign recheck recursive ref references referencing refresh register reindex \
    relative release rename repeatable replace replica reset resource resources respect restart restrict \
    returning returns revoke right role rollback rollup row rows rule sample savepoint schema schemas \
    scope scroll search second seconds secret secure security select semi sequence sequences serializable \
    server session set setof sets share show similar similarity simple skip smallint snapshot some sorted \
    source sql stable standalone start statement statistics stdin stdout storage stored strict strip \
    struct subscription substring summarize symmetric sysid system table tables tablesample tablespace \
    target temp template temporary text then ties time timestamp to trailing transaction transform treat \
    trigger trim true truncate trusted try_cast tuple type types unbounded uncommitted unencrypted union \
    unique unknown unlisten unlogged unpack unpivot until update use user using vacuum valid validate \
    validator value values varchar variable variadic varying verbose version view views virtual volatile \
    week weeks when where whitespace window with within without work wrapper write xml xmlattributes \
    xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable \
    year years yes zone";

/// Functions of numbers.
pub(super) const NUMERIC_FUNCTIONS: &str = "\
    abs acos acosh asin asinh atan atan2 atanh bin bit_count cbrt ceil ceiling cos cosh cot degrees even \
    exp factorial fdiv floor fmod gamma gcd greatest greatest_common_divisor isfinite isinf isnan lcm \
    least least_common_multiple lgamma ln log log10 log2 mod nextafter pi pow power radians random round \
    round_even setseed sign signbit sin sinh sqrt tan tanh to_base trunc xor";

/// Functions of text.
pub(super) const STRING_FUNCTIONS: &str = "\
    ascii bar base64 bit_length char_length character_length chr concat concat_ws contains \
    damerau_levenshtein ends_with format format_bytes from_base64 hamming hex instr jaccard \
    jaro_similarity jaro_winkler_similarity lcase left left_grapheme length length_grapheme levenshtein \
    like_escape lower lpad ltrim md5 nfc_normalize octet_length ord overlay parse_dirname parse_dirpath \
    parse_filename parse_path position prefix printf regexp_escape regexp_extract regexp_extract_all \
    regexp_full_match regexp_matches regexp_replace regexp_split_to_array repeat replace reverse right \
    right_grapheme rpad rtrim sha1 sha256 split split_part starts_with string_split string_split_regex \
    strip_accents strlen strpos substr substring substring_grapheme suffix to_base64 translate trim ucase \
    unhex unicode upper url_decode url_encode";

/// Functions about the session, the engine and values of any type.
pub(super) const SYSTEM_FUNCTIONS: &str = "\
    alias coalesce current_catalog current_database current_query current_role current_schema \
    current_schemas current_setting current_user currval error gen_random_uuid getvariable hash if ifnull \
    nextval nullif pg_typeof session_user txid_current typeof user uuid version";

/// Functions of dates, times, timestamps and intervals.
pub(super) const DATETIME_FUNCTIONS: &str = "\
    age ago century current_date current_localtime current_localtimestamp date_add date_diff date_part \
    date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear \
    days_in_month decade epoch epoch_ms epoch_ns epoch_us era get_current_timestamp hour isodow isoyear \
    julian last_day make_date make_time make_timestamp make_timestamp_ms make_timestamp_ns \
    make_timestamptz microsecond millennium millisecond minute month monthname nanosecond now quarter \
    second strftime strptime time_bucket timezone timezone_hour timezone_minute to_centuries to_days \
    to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters \
    to_seconds to_timestamp to_weeks to_years today transaction_timestamp try_strptime week weekday \
    weekofyear year yearweek";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_words_without_repetition() {
        for words in
            [KEYWORDS, NUMERIC_FUNCTIONS, STRING_FUNCTIONS, SYSTEM_FUNCTIONS, DATETIME_FUNCTIONS].map(list)
        {
            assert!(words.is_sorted_by(|one, next| one < next));
            assert!(
                words
                    .iter()
                    .all(|word| word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'))
            );
        }
    }
}
