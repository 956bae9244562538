// What Grafana loads.
import { DataSourcePlugin } from '@grafana/data';
import { ConfigEditor } from './ConfigEditor';
import { DataSource } from './datasource';
import { QueryEditor } from './QueryEditor';
import { WeirOptions, WeirQuery, WeirSecrets } from './types';

export const plugin = new DataSourcePlugin<DataSource, WeirQuery, WeirOptions, WeirSecrets>(DataSource)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor);
