//! From the context of a request to the engine of its data source.

use std::sync::Arc;

use grafana_plugin_sdk::pluginv2::{DataSourceInstanceSettings, PluginContext};
use weir_plan::{Error, Result};

use super::caller::{Asking, caller};
use super::settings;
use crate::app::App;
use crate::engine::Engine;

/// Every data source of the process.
pub(super) struct Instances(Arc<App>);

impl Instances {
    /// The data sources of `app`.
    pub(super) fn new(app: Arc<App>) -> Self {
        Self(app)
    }

    /// The process that the data sources live in.
    pub(super) fn app(&self) -> &App {
        &self.0
    }

    /// The engine of the data source that a request names, for the request's caller.
    ///
    /// # Errors
    /// `InvalidQuery` where it names none, or for its settings; those of logging in.
    pub(super) async fn engine(&self, request: &impl Asking) -> Result<Arc<Engine>> {
        let Some((name, source)) = data_source(request.context()) else {
            return Err(Error::invalid("the request names no data source"));
        };
        self.0
            .instance(&name, source.last_updated_ms, &caller(request), || {
                settings::big_query(&source.json_data, &source.decrypted_secure_json_data)
            })
            .await
            .map_err(|error| if source.name.is_empty() { error } else { error.context(format!("{:?}", source.name)) })
    }
}

/// The data source of a request, and a name for it within the process: uids repeat between
/// organisations, and Grafana before 8.0 sends none.
pub(super) fn data_source(context: Option<&PluginContext>) -> Option<(String, &DataSourceInstanceSettings)> {
    let context = context?;
    let source = context.data_source_instance_settings.as_ref()?;
    let name = if source.uid.is_empty() {
        format!("{}/#{}", context.org_id, source.id)
    } else {
        format!("{}/{}", context.org_id, source.uid)
    };
    Some((name, source))
}
