// What is stored: queries in boards, and settings of data sources. Keys are those of the official data
// source where it has them, so that its boards and provisioning files are ours.
import { DataQuery, DataSourceJsonData } from '@grafana/data';

/** The forms of an answer, by the number that is stored. */
export enum Format {
  TimeSeries = 0,
  Table = 1,
  Logs = 2,
  Traces = 3,
  Multi = 4,
}

export type CacheMode = 'auto' | 'whole' | 'off';

/** What the builder was told; the SQL that it wrote is in `rawSql`, which is what runs. */
export interface Build {
  dataset: string;
  measure: string;
  groupBy: string[];
  filters: Record<string, string>;
}

export interface WeirQuery extends DataQuery {
  rawSql?: string;
  format?: Format | string;
  location?: string;
  project?: string;
  dataset?: string;
  table?: string;
  editorMode?: 'builder' | 'code';
  rawQuery?: boolean;
  builder?: Build;
  cache?: { mode?: CacheMode; maxStalenessMs?: number };
  queryCachingTTL?: number;
  /** Questions to the ledger have no SQL. */
  queryType?: string;
  by?: string;
}

export type Login = 'jwt' | 'gce' | 'forwardOAuthIdentity' | 'workloadIdentityFederation' | 'none';

export interface WeirOptions extends DataSourceJsonData {
  authenticationType?: Login;
  clientEmail?: string;
  tokenUri?: string;
  privateKeyPath?: string;
  usingImpersonation?: boolean;
  serviceAccountToImpersonate?: string;
  oauthPassThru?: boolean;
  workloadIdentityPoolProvider?: string;
  wifServiceAccountEmail?: string;
  defaultProject?: string;
  flatRateProject?: string;
  processingLocation?: string;
  serviceEndpoint?: string;
  storageEndpoint?: string;
  MaxBytesBilled?: number | string;
  dailyBytes?: number | string;
  dailyBytesPerPrincipal?: number | string;
  queryPriority?: string;
  queryTimeout?: number | string;
  pricePerTiB?: number | string;
  restrictToAccessibleDatasets?: boolean;
  additionalAllowedDatasets?: string;
  /** What is known of tables and views: an array, or its text. */
  descriptors?: unknown[] | string;
  /** The name of ready-made relations that are kept here, and the most bytes of each in memory. */
  localRelations?: string;
  localMemory?: number | string;
  auditShare?: number | string;
  auditDailyBytes?: number | string;
  /** For how many seconds answers of this data source's queries are fresh, where a panel does not say. */
  freshSeconds?: number;
  /** How many seconds older than fresh an answer may be, where a query does not say. */
  maxStalenessSeconds?: number;
}

export interface WeirSecrets {
  privateKey?: string;
}

export interface Cost {
  amount: number;
  currency: string;
}

/** `meta.custom` of a frame: how its rows were come by. */
export interface Provenance {
  mode: string;
  reason: string;
  status: string;
  age_s: number;
  bytes_billed: number;
  bytes_saved: number;
  cost: Cost;
  cost_saved: Cost;
}
