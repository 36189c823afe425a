//! From one type to another: whether every value stays what it is, and if not, why.
//! Runs on: any thread; pure.
//! Never: calls a change harmless that a value may not survive.

/// What a change of a column's type does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeChange {
    /// Every value stays what it is, and producers of the old type keep working.
    Widening,
    /// Not so.
    Breaking {
        /// Why it is refused.
        reason: &'static str,
        /// What is lost when it is done all the same.
        lost: &'static str,
    },
}

const SIGNED: [&str; 4] = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT"];
const UNSIGNED: [&str; 4] = ["UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"];
const FLOATS: [&str; 2] = ["FLOAT", "DOUBLE"];
/// From coarse to fine.
const TIMES: [&str; 4] = ["TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS"];

/// What the change of a column from one DuckDB type to another does.
pub(super) fn type_change(from: &str, to: &str) -> TypeChange {
    let fails = "nothing is changed if a value does not fit";
    for family in [&SIGNED[..], &UNSIGNED[..], &FLOATS[..]] {
        if let (Some(old), Some(new)) = (place(family, from), place(family, to)) {
            return match (old <= new, family == &FLOATS[..]) {
                (true, _) => TypeChange::Widening,
                (false, true) => TypeChange::Breaking {
                    reason: "it narrows the column, and values lose digits",
                    lost: "digits beyond seven are lost",
                },
                (false, false) => TypeChange::Breaking {
                    reason: "it narrows the column, and values may not fit",
                    lost: fails,
                },
            };
        }
    }
    let is_integer = |name: &str| SIGNED.contains(&name) || UNSIGNED.contains(&name);
    if is_integer(from) && is_integer(to) {
        return TypeChange::Breaking {
            reason: "it changes between signed and unsigned, and values may not fit",
            lost: fails,
        };
    }
    if let (Some((precision, scale)), Some((new_precision, new_scale))) = (decimal(from), decimal(to)) {
        return match (scale == new_scale, new_precision >= precision) {
            (true, true) => TypeChange::Widening,
            (true, false) => {
                TypeChange::Breaking { reason: "it narrows the column, and values may not fit", lost: fails }
            }
            (false, _) if new_scale < scale => TypeChange::Breaking {
                reason: "it changes the scale, and values are rounded",
                lost: "digits beyond the new scale are rounded away",
            },
            (false, _) => TypeChange::Breaking { reason: "it changes the scale", lost: fails },
        };
    }
    if let (Some(old), Some(new)) = (place(&TIMES, from), place(&TIMES, to)) {
        let lost = if old > new { "digits finer than the new unit are lost" } else { fails };
        return TypeChange::Breaking { reason: "it changes the unit of time that producers send", lost };
    }
    TypeChange::Breaking {
        reason: "it makes another kind of value of it, and producers send the old one",
        lost: "values are cast, and nothing is changed if one does not fit",
    }
}

fn place(family: &[&str], name: &str) -> Option<usize> {
    family.iter().position(|one| *one == name)
}

fn decimal(text: &str) -> Option<(u8, u8)> {
    let (precision, scale) = text.strip_prefix("DECIMAL(")?.strip_suffix(')')?.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_every_value_is_a_widening() {
        for (from, to, part) in [
            ("TINYINT", "BIGINT", None),
            ("UINTEGER", "UBIGINT", None),
            ("FLOAT", "DOUBLE", None),
            ("DECIMAL(10,2)", "DECIMAL(12,2)", None),
            ("BIGINT", "INTEGER", Some("narrows")),
            ("DOUBLE", "FLOAT", Some("narrows")),
            ("UINTEGER", "BIGINT", Some("signed")),
            ("DECIMAL(10,2)", "DECIMAL(9,2)", Some("narrows")),
            ("DECIMAL(10,2)", "DECIMAL(12,3)", Some("scale")),
            ("DECIMAL(10,2)", "DECIMAL(10,1)", Some("rounded")),
            ("TIMESTAMP_MS", "TIMESTAMP", Some("unit")),
            ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", Some("another kind")),
            ("INTEGER", "VARCHAR", Some("another kind")),
            ("INTEGER[]", "BIGINT[]", Some("another kind")),
        ] {
            match (type_change(from, to), part) {
                (TypeChange::Widening, None) => {}
                (TypeChange::Breaking { reason, .. }, Some(part)) if reason.contains(part) => {}
                (found, _) => panic!("{from} -> {to}: {found:?}"),
            }
        }
    }
}
