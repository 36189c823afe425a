"""geopandas: GeoParquet 0.4 to 1.1, encodings, CRS, Feather. A geometry is compared by its WKB."""

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

out = Out("geopandas")
SHAPES = {
    "points": [Point(1, 2), None, Point(-0.5, 1e10), Point()],
    "points_z": [Point(1, 2, 3), Point(4, 5, 6)],
    "lines": [LineString([(0, 0), (1, 1)]), LineString()],
    "polygons": [box(0, 0, 1, 1), Polygon([(0, 0), (4, 0), (4, 4)], [[(1, 1), (2, 1), (2, 2)]])],
    "mixed": [Point(1, 2), box(0, 0, 1, 1), MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)]), None],
}


def wkb(shape):
    return None if shape is None else shapely.to_wkb(shape, output_dimension=4 if shape.has_m else 3 if shape.has_z else 2, flavor="iso")


def frame(shapes, crs="EPSG:4326", column="geometry"):
    made = gpd.GeoDataFrame({"place": range(len(shapes))}, geometry=gpd.GeoSeries(shapes), crs=crs)
    return made if column == "geometry" else made.rename_geometry(column)


def case(name, geo, shapes, write, column="geometry", more=None, refuse=None):
    def make(path):
        write(geo, path)
        out.add(path, {"place": list(range(len(shapes))), column: [wkb(s) for s in shapes], **(more or {})}, refuse=refuse)

    out.try_to(name, make)


for name, shapes in SHAPES.items():
    for version in ("0.4.0", "1.0.0", "1.1.0"):
        if version == "0.4.0" and name != "mixed":
            continue
        case(f"{name}_{version}.parquet", frame(shapes), shapes, lambda g, p, v=version: g.to_parquet(p, schema_version=v))
    case(f"{name}.feather", frame(shapes), shapes, lambda g, p: g.to_feather(p)) if name in ("points", "mixed") else None
POINTS = [Point(1, 2), Point(3, 4)]
case("crs_none.parquet", frame(POINTS, None), POINTS, lambda g, p: g.to_parquet(p))
case("crs_25832.parquet", frame(POINTS, "EPSG:25832"), POINTS, lambda g, p: g.to_parquet(p))
case("crs_84.parquet", frame(POINTS, "OGC:CRS84"), POINTS, lambda g, p: g.to_parquet(p))
case("renamed.parquet", frame(POINTS, column="where"), POINTS, lambda g, p: g.to_parquet(p), column="where")
case("zstd.parquet", frame(POINTS), POINTS, lambda g, p: g.to_parquet(p, compression="zstd"))
BOX = {"bbox": [{"xmin": s.x, "ymin": s.y, "xmax": s.x, "ymax": s.y} for s in POINTS]}
case("covering.parquet", frame(POINTS), POINTS, lambda g, p: g.to_parquet(p, write_covering_bbox=True), more=BOX)
two = frame(POINTS).assign(second=gpd.GeoSeries([box(0, 0, 1, 1), None], crs="EPSG:25832"))
case("two_columns.parquet", two, POINTS, lambda g, p: g.to_parquet(p), more={"second": [wkb(box(0, 0, 1, 1)), None]})
# The geoarrow encoding has no WKB: structs of coordinates. Pintail may keep what is there, or make a geometry of it.
for name, coordinates in (("points", [{"x": s.x, "y": s.y} for s in POINTS]),):
    case(f"geoarrow_{name}.parquet", frame(POINTS), POINTS, lambda g, p: g.to_parquet(p, geometry_encoding="geoarrow", schema_version="1.1.0"), more={"geometry": coordinates})
np.random.seed(1)
many = [Point(*xy) for xy in np.random.rand(5000, 2)]
case("many.parquet", frame(many), many, lambda g, p: g.to_parquet(p, row_group_size=700))
