//! The export API of a running `weir`, read with its users' tools.

use crate::support::process::{Running, weir};
use crate::support::python;

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_and_pandas_read_what_the_demo_serves() {
    let demo = Running::start(weir(["demo", "--listen", "127.0.0.1:0"]));
    let url = format!("http://{}", demo.wait_for_address());
    python::check("export_reader.py", &[&url]).await;
    python::check("experiments_reader.py", &[&url]).await;
    python::check("description_fuzz.py", &[&url]).await;
}
