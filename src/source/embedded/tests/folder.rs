//! A folder of files as tables.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, Date32Array, Int32Array, LargeStringArray, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;

use super::{Embedded, Place, at, id, types};
use crate::source::{PartitionUnit, Source};

fn rows() -> RecordBatch {
    let times = ["2024-01-01T00:00:00Z", "2024-01-02T12:00:00Z"].map(|text| at(text).micros() * 1000);
    let columns: Vec<(&str, Arc<dyn Array>)> = vec![
        ("when", Arc::new(TimestampNanosecondArray::from(times.to_vec()).with_timezone("+00:00"))),
        ("Small", Arc::new(Int32Array::from(vec![1, 2]))),
        ("text", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write_parquet(path: &Path, rows: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn files_become_tables_of_normal_types() {
    let place = Place::empty();
    let dir = tempfile::tempdir().unwrap();
    write_parquet(&dir.path().join("p.d.a.parquet"), &rows());
    let file = File::create(dir.path().join("p.d.b.arrow")).unwrap();
    let mut writer = FileWriter::try_new(file, &rows().schema()).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    let file = File::create(dir.path().join("p.d.c.arrow")).unwrap();
    let mut writer = StreamWriter::try_new(file, &rows().schema()).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    let csv = "when,Small,text,share,ok,day\n2024-01-01 00:00:00 UTC,1,a,0.5,true,2024-01-01\n2024-01-02T12:00:00Z,2,,1,FALSE,\n";
    fs::write(dir.path().join("p.d.d.csv"), csv).unwrap();
    fs::write(dir.path().join("README.md"), "not a table").unwrap();
    let tables = place.embedded.open_folder(dir.path()).unwrap();
    assert_eq!(tables, [id("p.d.a"), id("p.d.b"), id("p.d.c"), id("p.d.d")]);
    for table in &tables {
        let described = place.embedded.table(table).await.unwrap();
        assert_eq!(described.schema.field(0).data_type(), &types::timestamp(), "{table}");
        assert_eq!(described.schema.field(1).data_type(), &DataType::Int64, "{table}");
        assert_eq!(described.schema.field(2).data_type(), &DataType::Utf8, "{table}");
        place.check(&format!("SELECT SUM(Small) FROM `{table}` WHERE `when` < '2024-01-02'"), &["1"]).await;
    }
    place
        .check(
            "SELECT text, share, ok, day FROM p.d.d ORDER BY Small",
            &["a|0.5|true|2024-01-01", "NULL|1.0|false|NULL"],
        )
        .await;
}

#[tokio::test]
async fn partitioning_is_told_or_guessed() {
    let place = Place::empty();
    let dir = tempfile::tempdir().unwrap();
    let dates = |names: &[&str]| {
        let columns = names.iter().map(|name| (*name, Arc::new(Date32Array::from(vec![1, 2])) as Arc<dyn Array>));
        RecordBatch::try_from_iter(columns).unwrap()
    };
    for (name, columns) in
        [("only", &["x"][..]), ("known", &["x", "submission_date"]), ("none", &["x", "y"]), ("told", &["x", "y"])]
    {
        write_parquet(&dir.path().join(format!("p.d.{name}.parquet")), &dates(columns));
    }
    fs::write(dir.path().join("p.d.told.toml"), "partition_column = \"y\"\npartition_unit = \"MONTH\"\n").unwrap();
    place.embedded.open_folder(dir.path()).unwrap();
    let partitioning = async |name: &str| {
        let table = place.embedded.table(&id(&format!("p.d.{name}"))).await.unwrap();
        table.partitioning.map(|partitioning| (partitioning.column.unwrap(), partitioning.unit))
    };
    assert_eq!(partitioning("only").await, Some(("x".to_owned(), PartitionUnit::Day)));
    assert_eq!(partitioning("known").await, Some(("submission_date".to_owned(), PartitionUnit::Day)));
    assert_eq!(partitioning("none").await, None);
    assert_eq!(partitioning("told").await, Some(("y".to_owned(), PartitionUnit::Month)));
}

#[tokio::test]
async fn a_bad_file_is_named_with_its_remedy() {
    let empty = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)])));
    let check = |name: &str, content: &[u8], expected: &str| {
        let place = Place::empty();
        let dir = tempfile::tempdir().unwrap();
        write_parquet(&dir.path().join("p.d.good.parquet"), &empty);
        fs::write(dir.path().join(name), content).unwrap();
        let error = place.embedded.open_folder(dir.path()).unwrap_err();
        let expected = expected.replace("DIR", &dir.path().display().to_string());
        assert!(error.message().contains(&expected), "{name}: {error}");
    };
    check("p.d.x.parquet", b"PAR1 no", "DIR/p.d.x.parquet is not a readable Parquet file");
    check("p.d.x.arrow", b"no", "DIR/p.d.x.arrow is not a readable Arrow IPC file");
    check("p.d.x.csv", b"a,b\n1\n", "DIR/p.d.x.csv is not a readable CSV file");
    check("p.d.x.csv", b"", "DIR/p.d.x.csv has no columns");
    check("table.csv", b"a\n1\n", "DIR/table.csv: name the file project.dataset.table.csv");
    check("p.d.good.csv", b"a\n1\n", "DIR holds two files of the table p.d.good");
    check("p.d.good.toml", b"partition = 1", "DIR/p.d.good.toml: ");
    check("p.d.good.toml", b"partition_column = \"nope\"", "table p.d.good has no column nope");
    let dir = tempfile::tempdir().unwrap();
    let clock = || Arc::clone(&Place::empty().clock) as Arc<dyn crate::clock::Clock>;
    let error = Embedded::of_folder(dir.path(), clock()).unwrap_err();
    assert!(error.message().contains("holds no table; put project.dataset.table.parquet into it"), "{error}");
    write_parquet(&dir.path().join("q.d.good.parquet"), &empty);
    assert_eq!(Embedded::of_folder(dir.path(), clock()).unwrap().identity().project, "q");
    let error = Place::empty().embedded.open_folder(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.message().starts_with("cannot read /nowhere/at/all: "), "{error}");
}
