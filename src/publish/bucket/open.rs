//! How a destination becomes a store.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use weir_plan::{Error, Result};

use super::login::BucketLogin;
use super::{Bucket, Guard};
use crate::clock::Clock;
use crate::config::Login;
use crate::publish::destination::Destination;
use crate::source::bigquery::CloudLogin;

/// A request that fails is sent again for this long: within a tick of five minutes, and shorter than
/// the last minute of a token's life.
const RETRY: Duration = Duration::from_secs(45);

impl Bucket {
    /// A destination; nothing is written or fetched yet. `login` is shown to Google's storage, at
    /// `endpoint` in place of its own address.
    ///
    /// # Errors
    /// `NotFound` for a folder that is not there; those of the login.
    pub async fn open(
        destination: &Destination,
        login: &Login,
        endpoint: Option<&str>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        match destination {
            Destination::Folder(folder) => Self::folder(folder),
            Destination::Bucket { name, prefix } => {
                let login = match login {
                    Login::Anonymous => None,
                    login => Some(Arc::new(BucketLogin::new(CloudLogin::prepare(login, clock).await?))),
                };
                if login.is_none() && endpoint.is_none() {
                    return Err(Error::invalid(format!("gs://{name} needs a login; give --source one that has it")));
                }
                Self::google(name, prefix.clone(), endpoint, login)
            }
        }
    }

    /// A folder of this machine.
    ///
    /// # Errors
    /// `NotFound` if it is not there.
    pub fn folder(folder: &FilePath) -> Result<Self> {
        let store = LocalFileSystem::new_with_prefix(folder).map(Arc::new).map_err(|error| {
            let message = format!("there is no folder {}; create it, or mend --to", folder.display());
            Error::not_found(message).with_source(error)
        })?;
        let guard = Guard::Lock(Arc::clone(&store), folder.to_owned());
        Ok(Self { store, prefix: Path::ROOT, name: format!("file://{}", folder.display()), guard, login: None })
    }

    /// Memory, for tests.
    pub fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()), "memory:")
    }

    /// Any store with conditional writes.
    pub(in crate::publish) fn over(store: Arc<dyn ObjectStore>, name: &str) -> Self {
        Self { store, prefix: Path::ROOT, name: name.to_owned(), guard: Guard::Condition, login: None }
    }

    fn google(name: &str, prefix: Path, endpoint: Option<&str>, login: Option<Arc<BucketLogin>>) -> Result<Self> {
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 6, retry_timeout: RETRY };
        let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(name).with_retry(retry);
        if let Some(endpoint) = endpoint {
            let options = ClientOptions::new().with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_client_options(options).with_config(GoogleConfigKey::BaseUrl, endpoint);
        }
        builder = match &login {
            Some(login) => builder.with_credentials(Arc::clone(login) as _),
            None => builder.with_skip_signature(true),
        };
        let store = builder
            .build()
            .map_err(|error| Error::invalid(format!("cannot use the bucket {name:?}")).with_source(error))?;
        let name = format!("gs://{name}");
        Ok(Self { store: Arc::new(store), prefix, name, guard: Guard::Condition, login })
    }
}
