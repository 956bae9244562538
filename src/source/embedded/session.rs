//! The engine's state, built once, and what it knows while it plans one job.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use sqlparser::ast::Statement;

use super::{functions, operators};

/// The engine's state; the same for all jobs.
#[derive(Debug)]
pub(super) struct Session {
    state: SessionState,
    scalars: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Session {
    /// Builds the state.
    pub(super) fn new() -> Self {
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        // GoogleSQL: NULLs first in ascending order, last in descending order.
        "nulls_min".clone_into(&mut options.sql_parser.default_null_ordering);
        let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
        let mut scalars = state.scalar_functions().clone();
        scalars.extend(functions::all().map(|function| (function.name().to_owned(), function)));
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(operators::Operators)];
        planners.extend(state.expr_planners().iter().cloned());
        Self { state, scalars, planners }
    }

    /// The state, for optimising and running.
    pub(super) fn state(&self) -> &SessionState {
        &self.state
    }

    /// Gives all expressions of a plan their final types.
    pub(super) fn analyze(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})
    }

    /// Plans a rewritten statement over `tables`.
    pub(super) fn plan(
        &self,
        statement: Statement,
        tables: &HashMap<String, Arc<dyn TableSource>>,
    ) -> Result<LogicalPlan> {
        let names = Names { session: self, tables };
        let options = ParserOptions::from(&self.state.config_options().sql_parser);
        SqlToRel::new_with_options(&names, options).sql_statement_to_plan(statement)
    }
}

/// Names that one statement may use.
struct Names<'a> {
    session: &'a Session,
    tables: &'a HashMap<String, Arc<dyn TableSource>>,
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if let Some(source) = self.tables.get(name.table()) {
            return Ok(Arc::clone(source));
        }
        plan_err!("Table \"{name}\" must be qualified with a dataset (e.g. dataset.table)")
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.session.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(operators::Operators))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.session.scalars.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.session.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.session.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.session.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
