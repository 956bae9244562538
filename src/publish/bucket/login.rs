//! Shows a bucket who we are, in the store's own terms.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::gcp::GcpCredential;
use parking_lot::Mutex;

use crate::source::bigquery::CloudLogin;

/// A login as the store asks for it.
pub(super) struct BucketLogin(CloudLogin, Mutex<u64>);

impl BucketLogin {
    pub(super) fn new(login: CloudLogin) -> Self {
        Self(login, Mutex::default())
    }

    /// The credential's name; no secret.
    pub(super) fn principal(&self) -> &str {
        self.0.principal()
    }

    /// How many tokens were refused so far.
    pub(super) fn refusals(&self) -> u64 {
        *self.1.lock()
    }

    /// A request that began after so many refusals was refused: so is the token, unless another request
    /// has already said so.
    pub(super) fn refused(&self, refusals: u64) {
        let mut known = self.1.lock();
        if *known == refusals {
            *known += 1;
            self.0.refused();
        }
    }
}

impl fmt::Debug for BucketLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BucketLogin").field(&self.principal()).finish()
    }
}

#[async_trait]
impl CredentialProvider for BucketLogin {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        match self.0.token().await {
            Ok(token) => Ok(Arc::new(GcpCredential { bearer: token.0 })),
            Err(error) => Err(object_store::Error::Generic { store: "login", source: Box::new(error) }),
        }
    }
}
