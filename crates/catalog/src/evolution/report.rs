//! Plans -> the text a person reads before saying yes.
//! Runs on: any thread; pure.
//! Never: hides a refusal or a loss behind a count.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{Plan, Sign};

/// The plan of one table, with the version of its declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePlan {
    /// The table.
    pub table: String,
    /// Version recorded last; none for a table that was never declared.
    pub version: Option<u64>,
    /// Version that applying records; none when the declaration is the one recorded last.
    pub new_version: Option<u64>,
    /// Whether the table has to be made.
    pub is_new: bool,
    /// What is to be done.
    pub plan: Plan,
}

impl TablePlan {
    /// Whether applying would do nothing at all.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty() && self.new_version.is_none()
    }

    fn headline(&self) -> String {
        let what = match (self.plan.refusals.len(), self.plan.steps.len()) {
            // What no table knows: the mode, rules for new columns, which of several Arrow types is meant.
            (0, 0) if self.version.is_some() && self.new_version.is_some() => {
                "only its rules change".to_owned()
            }
            (0, 0) => "as declared".to_owned(),
            (0, _) if self.is_new => "create".to_owned(),
            (0, _) => "change".to_owned(),
            _ => "refused".to_owned(),
        };
        let version = match (self.version, self.new_version) {
            (None, Some(new)) => format!(", version {new}"),
            (Some(old), Some(new)) => format!(", version {old} → {new}"),
            (Some(old), None) => format!(", version {old}"),
            (None, None) => String::new(),
        };
        format!("{}: {what}{version}", self.table)
    }
}

/// The plans as a person reads them: `+` adds, `~` changes, `-` removes, `!` is refused.
pub fn render(plans: &[TablePlan]) -> String {
    let mut text = String::new();
    for table in plans {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", table.headline());
        for step in &table.plan.steps {
            let sign = match step.sign {
                Sign::Add => '+',
                Sign::Change => '~',
                Sign::Remove => '-',
            };
            let _ = writeln!(text, "  {sign} {}", step.text);
            if let Some(lost) = &step.lost {
                let _ = writeln!(text, "      breaking: {lost}");
            }
        }
        for refusal in &table.plan.refusals {
            let _ = writeln!(text, "  ! {}", refusal.text);
            let _ = writeln!(text, "      refused: {}", refusal.reason);
            let _ = writeln!(text, "      instead: {}", refusal.advice);
        }
    }
    let count = |wanted: fn(&TablePlan) -> bool| plans.iter().filter(|table| wanted(table)).count();
    let refused = count(|table| !table.plan.refusals.is_empty());
    let fine = |table: &TablePlan| table.plan.refusals.is_empty();
    let created = count(|table| table.plan.refusals.is_empty() && table.is_new);
    let changed =
        plans.iter().filter(|table| fine(table) && !table.is_new && !table.plan.steps.is_empty()).count();
    let unchanged = plans.len() - refused - created - changed;
    let tables = if plans.len() == 1 { "1 table".to_owned() } else { format!("{} tables", plans.len()) };
    let _ = write!(
        text,
        "{tables}: {created} to create, {changed} to change, {unchanged} as declared, {refused} refused"
    );
    text
}
