//! A plan as the engine writes it in JSON -> a tree of lines.
//! Runs on: any thread; pure.

use serde_json::Value;

/// An operator of a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// What it is.
    pub name: String,
    /// What else is said of it: its table, condition, keys.
    pub details: Vec<(String, String)>,
    /// Rows that it gave, if it has run.
    pub rows: Option<u64>,
    /// Seconds that it took, if it has run.
    pub seconds: Option<f64>,
    /// Operators that it takes rows from.
    pub children: Vec<Node>,
}

/// Operators of the engine's own around an analyzed plan.
const AROUND: [&str; 3] = ["RESULT_COLLECTOR", "EXPLAIN_ANALYZE", "QUERY"];
/// What the engine calls its guess of the rows.
const ESTIMATE: &str = "Estimated Cardinality";
/// Levels that are read: no plan is deeper that somebody could look at.
const LEVELS_MAX: usize = 256;

/// The tree of `EXPLAIN (FORMAT json)` or `EXPLAIN (ANALYZE, FORMAT json)`; `None` when it is neither.
pub fn read_plan(json: &str) -> Option<Node> {
    let plan: Value = serde_json::from_str(json).ok()?;
    let roots = plan.get("operator").or_else(|| plan.get("children")).unwrap_or(&plan);
    let mut node = read(roots.as_array()?.first()?, 0);
    while AROUND.contains(&node.name.as_str()) && node.children.len() == 1 {
        node = node.children.pop()?;
    }
    Some(node)
}

fn read(value: &Value, level: usize) -> Node {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let name = ["name", "type", "operator_type", "operator_name"].into_iter().find_map(text);
    let number = |keys: [&str; 2]| keys.into_iter().find_map(|key| value.get(key));
    let mut details = Vec::new();
    for (key, detail) in value.get("extra_info").and_then(Value::as_object).into_iter().flatten() {
        let detail = match detail {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts
                .iter()
                .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(", "),
            other => other.to_string(),
        };
        details.push((key.clone(), detail.replace('\n', " ")));
    }
    let children = value.get("children").and_then(Value::as_array);
    let children = children.filter(|_| level < LEVELS_MAX).into_iter().flatten();
    Node {
        name: name.unwrap_or("?").trim().to_owned(),
        details,
        rows: number(["intermediate_rows", "operator_cardinality"]).and_then(Value::as_u64),
        seconds: number(["timing", "operator_timing"]).and_then(Value::as_f64),
        children: children.map(|child| read(child, level + 1)).collect(),
    }
}

impl Node {
    /// The same with every detail as `change` writes it.
    #[must_use]
    pub fn with_details(mut self, change: &dyn Fn(&str) -> String) -> Self {
        for (_, detail) in &mut self.details {
            *detail = change(detail);
        }
        self.children = self.children.into_iter().map(|child| child.with_details(change)).collect();
        self
    }

    fn all_seconds(&self) -> f64 {
        self.seconds.unwrap_or(0.0) + self.children.iter().map(Node::all_seconds).sum::<f64>()
    }
}

/// The plan as lines: an operator in each, with its time, its part of all, and rows, where it has run.
pub fn draw(root: &Node, width: usize) -> String {
    let mut lines = String::new();
    let all = root.all_seconds();
    line(root, "", "", all, width, &mut lines);
    lines
}

fn line(node: &Node, own: &str, below: &str, all: f64, width: usize, lines: &mut String) {
    let mut text = format!("{own}{}", node.name);
    if let Some(seconds) = node.seconds {
        text += &format!("  {:.3} ms", seconds * 1e3);
        if all > 0.0 {
            text += &format!(" ({:.0}%)", seconds / all * 100.0);
        }
    }
    if let Some(rows) = node.rows {
        text += &format!("  {rows} rows");
    }
    for (key, detail) in node.details.iter().filter(|(key, detail)| key != ESTIMATE && !detail.is_empty()) {
        text += &format!("  {key}: {detail}");
    }
    match node.details.iter().find(|(key, _)| key == ESTIMATE) {
        Some((_, rows)) if node.rows.is_some() => text += &format!("  (estimated {rows})"),
        Some((_, rows)) => text += &format!("  ~{rows} rows"),
        None => {}
    }
    lines.push_str(&cut(&text, width));
    lines.push('\n');
    let last = node.children.len().saturating_sub(1);
    for (at, child) in node.children.iter().enumerate() {
        let (branch, trunk) = if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        line(child, &format!("{below}{branch}"), &format!("{below}{trunk}"), all, width, lines);
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANALYZED: &str = r##"{"operator": [{"type": "RESULT_COLLECTOR", "timing": 0.0, "extra_info": {}, "children": [
        {"type": "EXPLAIN_ANALYZE", "children": [{"type": "HASH_JOIN", "timing": 0.003, "intermediate_rows": 7,
            "extra_info": {"Conditions": ["a = b"], "Estimated Cardinality": "9"}, "children": [
                {"type": "SEQ_SCAN", "timing": 0.001, "intermediate_rows": 10, "extra_info": {"Table": "t"}, "children": []},
                {"type": "FILTER", "timing": 0.0, "intermediate_rows": 1, "extra_info": {}, "children": [
                    {"type": "SEQ_SCAN", "timing": 0.0, "extra_info": {}, "children": []}]}]}]}]}]}"##;

    #[test]
    fn an_analyzed_plan_is_drawn_as_a_tree() {
        let drawn = draw(&read_plan(ANALYZED).unwrap(), 200);
        assert_eq!(
            drawn,
            "HASH_JOIN  3.000 ms (75%)  7 rows  Conditions: a = b  (estimated 9)\n\
             ├─ SEQ_SCAN  1.000 ms (25%)  10 rows  Table: t\n\
             └─ FILTER  0.000 ms (0%)  1 rows\n   \
                └─ SEQ_SCAN  0.000 ms (0%)\n"
        );
    }

    #[test]
    fn a_plan_that_has_not_run_has_estimates() {
        let plan = r#"[{"name": "SEQ_SCAN", "children": [], "extra_info": {"Filters": ["(i > 5)"], "Estimated Cardinality": "200"}}]"#;
        let node = read_plan(plan).unwrap();
        assert_eq!(draw(&node, 200), "SEQ_SCAN  Filters: (i > 5)  ~200 rows\n");
        let masked = node.with_details(&|_| "?".to_owned());
        assert_eq!(draw(&masked, 200), "SEQ_SCAN  Filters: ?  ~? rows\n");
        assert!(read_plan("no json").is_none() && read_plan("{}").is_none());
    }

    #[test]
    fn lines_are_cut_to_the_width() {
        assert_eq!(draw(&read_plan(ANALYZED).unwrap(), 12).lines().next().unwrap(), "HASH_JOIN  …");
    }
}
