//! What a file says about its geometries -> the metadata of `geoarrow.wkb`.
//! Runs on: the thread that opens a file; pure. Never: loses a coordinate reference system, or makes one up.
//!
//! Sources: GeoParquet 1.1, "geo" metadata; Apache Parquet, "Geospatial types"; GeoArrow, "Extension types".

use std::collections::HashMap;

use parquet::basic::EdgeInterpolationAlgorithm as Edges;
use parquet::file::metadata::KeyValue;
use serde_json::{Map, Value};

/// The parts of a file's own metadata that speak of geometries.
#[derive(Default)]
pub(super) struct Geo {
    /// Metadata of `geoarrow.wkb` by column.
    columns: HashMap<String, String>,
    /// Reference systems that columns name by key.
    texts: HashMap<String, String>,
}

impl Geo {
    pub(super) fn of(pairs: Option<&Vec<KeyValue>>) -> Self {
        let mut geo = Self::default();
        for pair in pairs.into_iter().flatten() {
            let Some(text) = &pair.value else { continue };
            if pair.key == "geo" {
                geo.columns = columns(text);
            } else {
                geo.texts.insert(pair.key.clone(), text.clone());
            }
        }
        geo
    }

    /// The metadata of a column of well-known binary by GeoParquet.
    pub(super) fn column(&self, name: &str) -> Option<String> {
        self.columns.get(name).cloned()
    }

    /// The metadata of a column that is a geometry by its type.
    pub(super) fn metadata(&self, crs: Option<&str>, edges: Option<&str>) -> String {
        let named = crs.and_then(|crs| crs.strip_prefix("projjson:")).and_then(|key| self.texts.get(key));
        let crs = named.map(String::as_str).or(crs).filter(|crs| *crs != "srid:0");
        let crs = crs.map(|crs| match serde_json::from_str(crs) {
            Ok(Value::Object(object)) => Value::Object(object),
            _ => Value::String(crs.to_owned()),
        });
        written(crs, edges)
    }
}

/// The word for edges that are no straight lines.
pub(super) fn edges(edges: Edges) -> Option<&'static str> {
    Some(match edges {
        Edges::SPHERICAL => "spherical",
        Edges::VINCENTY => "vincenty",
        Edges::THOMAS => "thomas",
        Edges::ANDOYER => "andoyer",
        Edges::KARNEY => "karney",
        Edges::_Unknown(_) => return None,
    })
}

fn columns(text: &str) -> HashMap<String, String> {
    let Ok(Value::Object(mut geo)) = serde_json::from_str(text) else { return HashMap::new() };
    let Some(Value::Object(columns)) = geo.remove("columns") else { return HashMap::new() };
    let columns = columns.into_iter().filter_map(|(name, mut column)| {
        // Other encodings are plain structs and lists of numbers.
        if !column.get("encoding")?.as_str()?.eq_ignore_ascii_case("WKB") {
            return None;
        }
        let crs = column.get_mut("crs").map(Value::take).filter(|crs| !crs.is_null());
        let edges = column.get("edges").and_then(Value::as_str).filter(|edges| *edges != "planar");
        Some((name, written(crs, edges)))
    });
    columns.collect()
}

fn written(crs: Option<Value>, edges: Option<&str>) -> String {
    let mut metadata = Map::new();
    if let Some(crs) = crs {
        if crs.is_object() {
            metadata.insert("crs_type".to_owned(), "projjson".into());
        }
        metadata.insert("crs".to_owned(), crs);
    }
    if let Some(edges) = edges {
        metadata.insert("edges".to_owned(), edges.into());
    }
    Value::Object(metadata).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geo(pairs: &[(&str, &str)]) -> Geo {
        let pair = |(key, value): &(&str, &str)| KeyValue::new((*key).to_owned(), (*value).to_owned());
        Geo::of(Some(&pairs.iter().map(pair).collect()))
    }

    #[test]
    fn reference_systems_are_kept() {
        let text = r#"{"columns": {"a": {"encoding": "WKB"}, "b": {"encoding": "WKB", "crs": null},
            "c": {"encoding": "WKB", "crs": {"id": 1}, "edges": "spherical"}, "d": {"encoding": "point"}}}"#;
        let geo = geo(&[("geo", text), ("mine", r#"{"id": 2}"#)]);
        assert_eq!(geo.column("a").as_deref(), Some("{}"));
        assert_eq!(geo.column("b").as_deref(), Some("{}"));
        let c = r#"{"crs":{"id":1},"crs_type":"projjson","edges":"spherical"}"#;
        assert_eq!(geo.column("c").as_deref(), Some(c));
        assert_eq!(geo.column("d"), None);
        assert_eq!(geo.metadata(Some("EPSG:4326"), None), r#"{"crs":"EPSG:4326"}"#);
        assert_eq!(geo.metadata(Some("srid:0"), None), "{}");
        assert_eq!(geo.metadata(Some("projjson:mine"), None), r#"{"crs":{"id":2},"crs_type":"projjson"}"#);
    }

    #[test]
    fn what_is_no_metadata_says_nothing() {
        for text in ["", "[]", "{}", r#"{"columns": 5}"#, r#"{"columns": {"a": 5}}"#] {
            assert_eq!(geo(&[("geo", text)]).column("a"), None, "{text}");
        }
    }
}
