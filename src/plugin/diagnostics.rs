//! Grafana's Diagnostics service: whether a data source works, and the process's metrics.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grafana_plugin_sdk::pluginv2;
use grafana_plugin_sdk::pluginv2::check_health_response::HealthStatus;
use grafana_plugin_sdk::pluginv2::collect_metrics_response::Payload;
use serde_json::json;
use tonic_grafana::{Request, Response, Status};
use weir_plan::{Error, Kind, Result};

use super::instances::{Instances, data_source};
use crate::engine::Engine;
use crate::source::LoginRefused;

/// How long a health check may take; Grafana's own proxy gives up after 30 s.
const DEADLINE: Duration = Duration::from_secs(20);

/// The service.
pub(super) struct Diagnostics(pub(super) Arc<Instances>);

#[async_trait]
impl pluginv2::diagnostics_server::Diagnostics for Diagnostics {
    async fn check_health(
        &self,
        request: Request<pluginv2::CheckHealthRequest>,
    ) -> Result<Response<pluginv2::CheckHealthResponse>, Status> {
        let request = request.into_inner();
        if data_source(request.plugin_context.as_ref()).is_none() {
            return Ok(Response::new(healthy("Plugin is running")));
        }
        let outcome = tokio::time::timeout(DEADLINE, self.check(&request)).await;
        let late = |_| Err(Error::new(Kind::Timeout, format!("no answer from BigQuery in {} s", DEADLINE.as_secs())));
        Ok(Response::new(health(outcome.unwrap_or_else(late))))
    }

    async fn collect_metrics(
        &self,
        _: Request<pluginv2::CollectMetricsRequest>,
    ) -> Result<Response<pluginv2::CollectMetricsResponse>, Status> {
        let prometheus = self.0.app().metrics().text().map_err(|error| {
            super::log(&error, "metrics");
            Status::internal(error.public_message())
        })?;
        Ok(Response::new(pluginv2::CollectMetricsResponse { metrics: Some(Payload { prometheus }) }))
    }
}

impl Diagnostics {
    async fn check(&self, request: &pluginv2::CheckHealthRequest) -> Result<()> {
        check(&*self.0.engine(request).await?).await
    }
}

async fn check(engine: &Engine) -> Result<()> {
    engine.check().await.map_err(|error| {
        let identity = engine.source().identity();
        explained(error, &identity.principal, &identity.project)
    })
}

/// An error with what an administrator can do about it.
fn explained(error: Error, principal: &str, project: &str) -> Error {
    let remedy = match (LoginRefused::of(&error), error.kind()) {
        // A caller's own login: its error says what the caller can do.
        (_, Kind::Unauthenticated) => return error,
        (Some(refused), _) => format!("the login {principal} is not accepted; {refused}"),
        (None, Kind::PermissionDenied) => format!(
            "{principal} may not run jobs in project {project}; grant it bigquery.jobs.create there (role BigQuery Job User)"
        ),
        (None, Kind::NotFound) => format!("check that project {project} exists and has the BigQuery API enabled"),
        _ => return error,
    };
    error.context(remedy)
}

fn health(outcome: Result<()>) -> pluginv2::CheckHealthResponse {
    match outcome {
        Ok(()) => healthy("Data source is working"),
        Err(error) => {
            super::log(&error, "health");
            let message = error.public_message().to_owned();
            let details = json!({"verboseMessage": message, "code": error.kind().row().code});
            pluginv2::CheckHealthResponse {
                status: HealthStatus::Error.into(),
                message,
                json_details: details.to_string().into_bytes(),
            }
        }
    }
}

fn healthy(message: &str) -> pluginv2::CheckHealthResponse {
    pluginv2::CheckHealthResponse {
        status: HealthStatus::Ok.into(),
        message: message.to_owned(),
        json_details: b"{}".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::scripted::{Known, app, engine, engine_over};
    use grafana_plugin_sdk::pluginv2::PluginContext;
    use grafana_plugin_sdk::pluginv2::diagnostics_server::Diagnostics as _;

    #[tokio::test]
    async fn a_working_source_is_ok() {
        let health = health(check(&engine(Known::default())).await);
        assert_eq!(health.status(), HealthStatus::Ok);
        assert_eq!(health.message, "Data source is working");
    }

    #[tokio::test]
    async fn a_refusal_says_which_permission_is_lacking() {
        let check = async |error: Error, expected: &str| {
            let health = health(check(&engine_over(Arc::new(Known::default().source().refusing(error)))).await);
            assert_eq!(health.status(), HealthStatus::Error);
            assert!(health.message.contains(expected), "{}", health.message);
            assert!(serde_json::from_slice::<serde_json::Value>(&health.json_details).unwrap()["code"].is_string());
        };
        check(Error::new(Kind::PermissionDenied, "Access Denied"), "somebody may not run jobs in project p").await;
        check(Error::new(Kind::PermissionDenied, "Access Denied"), "bigquery.jobs.create").await;
        let refused = |refused: LoginRefused| Error::new(Kind::Unavailable, "refused").with_source(refused);
        check(refused(LoginRefused::Key), "the login somebody is not accepted; check that the key is not revoked")
            .await;
        check(refused(LoginRefused::Impersonation), "Service Account Token Creator").await;
        check(refused(LoginRefused::Exchange), "workload identity pool").await;
        check(Error::new(Kind::Unavailable, "no route to host"), "no route to host").await;
        check(Error::new(Kind::Unauthenticated, "sign in again"), "sign in again").await;
        check(Error::internal("lock of x"), "internal error").await;
    }

    #[tokio::test]
    async fn settings_that_cannot_be_used_are_unhealthy() {
        let service = Diagnostics(Arc::new(Instances::new(Arc::new(app()))));
        let context = PluginContext {
            data_source_instance_settings: Some(pluginv2::DataSourceInstanceSettings {
                uid: "u".into(),
                name: "Telemetry".into(),
                json_data: b"{}".to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let request = pluginv2::CheckHealthRequest { plugin_context: Some(context), ..Default::default() };
        let health = service.check_health(Request::new(request)).await.unwrap().into_inner();
        assert_eq!(health.status(), HealthStatus::Error);
        assert!(health.message.starts_with("\"Telemetry\": the data source's settings lack"), "{}", health.message);
    }

    #[tokio::test]
    async fn without_a_data_source_the_process_speaks_for_itself() {
        let service = Diagnostics(Arc::new(Instances::new(Arc::new(app()))));
        let health = service.check_health(Request::new(pluginv2::CheckHealthRequest::default())).await.unwrap();
        assert_eq!(health.into_inner().status(), HealthStatus::Ok);
        let metrics = service.collect_metrics(Request::new(pluginv2::CollectMetricsRequest::default())).await;
        let text = String::from_utf8(metrics.unwrap().into_inner().metrics.unwrap().prometheus).unwrap();
        assert!(text.contains("weir_bytes_billed_total 0"), "{text}");
    }
}
