//! Publishing against stores that fail, that others write to, and that are read meanwhile.

mod defects;
mod folder;
mod gcs;
mod google;
mod place;
mod rounds;

use weir_plan::Timestamp;

use super::bucket::Bucket;
use super::index::{INDEX, Index};
use super::object::{Media, Object};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn object(file: &str, content: &str) -> Object {
    Object::new("monitoring", file, Media::JSON, content.to_owned())
}

async fn text(bucket: &Bucket, name: &str) -> Option<String> {
    let content = bucket.get(&name.into()).await.unwrap()?;
    Some(String::from_utf8(content.bytes.to_vec()).unwrap())
}

async fn index(bucket: &Bucket) -> Index {
    Index::read(&bucket.get(&INDEX.into()).await.unwrap().unwrap().bytes)
}
