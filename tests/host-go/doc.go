// Package hostgo tests the plugin as Grafana runs it: with Grafana's own plugin SDK and
// hashicorp/go-plugin on the other side.
//
// It needs WEIR_BIN, the path of the binary; WEIR_FAKE_REST and WEIR_FAKE_STORAGE, the base URLs of
// a BigQuery stand-in over the demonstration data; and takes WEIR_FAKE_PROJECT, the project that
// jobs run in there (moz-fx-data-shared-prod by default).
package hostgo
