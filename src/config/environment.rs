//! The environment variables that Weir reads.

use std::path::PathBuf;

/// What the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `WEIR_CONFIG`, or from Grafana `GF_PLUGIN_CONFIG`: the configuration file.
    pub config_file: Option<PathBuf>,
    /// `WEIR_LOG`: a level, or directives as tracing-subscriber's `EnvFilter` takes them.
    pub log: Option<String>,
    /// `GF_PLUGIN_EXPORT_ADDRESS`: where a plugin process serves the export API.
    pub export_address: Option<String>,
    /// `GF_PLUGIN_CACHE_FOLDER`: where a plugin process keeps settled answers.
    pub cache_folder: Option<PathBuf>,
    /// `GF_PLUGIN_CACHE_FOLDER_CAPACITY`: the bytes of that folder, for example `10GiB`.
    pub cache_folder_capacity: Option<String>,
    /// What the host says that started this process, if one did.
    pub host: Host,
}

/// What a plugin's host says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// `grafana_plugin_type`: the magic cookie.
    pub magic_cookie: Option<String>,
    /// `PLUGIN_PROTOCOL_VERSIONS`.
    pub protocol_versions: Option<String>,
    /// Whether `PLUGIN_CLIENT_CERT` is set.
    pub offers_tls: bool,
}

impl Host {
    /// Whether Grafana started this process.
    pub fn is_grafana(&self) -> bool {
        self.magic_cookie.as_deref() == Some("datasource")
    }
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Reads variables; empty ones count as unset.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        Self {
            config_file: variable("WEIR_CONFIG").or_else(|| variable("GF_PLUGIN_CONFIG")).map(PathBuf::from),
            log: variable("WEIR_LOG").or_else(|| variable("GF_PLUGIN_LOG")),
            export_address: variable("GF_PLUGIN_EXPORT_ADDRESS"),
            cache_folder: variable("GF_PLUGIN_CACHE_FOLDER").map(PathBuf::from),
            cache_folder_capacity: variable("GF_PLUGIN_CACHE_FOLDER_CAPACITY"),
            host: Host {
                magic_cookie: variable("grafana_plugin_type"),
                protocol_versions: variable("PLUGIN_PROTOCOL_VERSIONS"),
                offers_tls: variable("PLUGIN_CLIENT_CERT").is_some(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Environment {
        Environment::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn grafanas_settings_of_the_plugin_arrive_as_variables() {
        let environment = of(&[
            ("grafana_plugin_type", "datasource"),
            ("GF_PLUGIN_EXPORT_ADDRESS", "127.0.0.1:9000"),
            ("GF_PLUGIN_CONFIG", "/etc/weir.toml"),
            ("GF_PLUGIN_CACHE_FOLDER", "/var/lib/weir"),
            ("GF_PLUGIN_CACHE_FOLDER_CAPACITY", "1GiB"),
            ("PLUGIN_PROTOCOL_VERSIONS", "2"),
        ]);
        assert!(environment.host.is_grafana());
        assert_eq!(environment.export_address.as_deref(), Some("127.0.0.1:9000"));
        assert_eq!(environment.config_file, Some("/etc/weir.toml".into()));
        assert_eq!(environment.cache_folder, Some("/var/lib/weir".into()));
        assert_eq!(environment.cache_folder_capacity.as_deref(), Some("1GiB"));
        assert_eq!(environment.host.protocol_versions.as_deref(), Some("2"));
        assert!(!environment.host.offers_tls);
    }

    #[test]
    fn our_own_variable_goes_first_and_empty_ones_are_unset() {
        let environment = of(&[("WEIR_CONFIG", "a.toml"), ("GF_PLUGIN_CONFIG", "b.toml"), ("WEIR_LOG", " ")]);
        assert_eq!(environment.config_file, Some("a.toml".into()));
        assert_eq!(environment.log, None);
        assert_eq!(of(&[]), Environment::default());
    }

    #[test]
    fn only_a_host_of_data_sources_is_grafana() {
        for other in ["", "app", "1"] {
            assert!(!of(&[("grafana_plugin_type", other)]).host.is_grafana(), "{other:?}");
        }
        assert!(!of(&[]).host.is_grafana());
    }
}
