// The settings of a data source. A secret is written, and never setting.
import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { getDataSourceSrv } from '@grafana/runtime';
import { Button, FieldSet, InlineField, InlineSwitch, Input, Select, TextArea } from '@grafana/ui';
import React, { useState } from 'react';
import { messageOf } from './check';
import type { DataSource } from './datasource';
import { Login, WeirOptions, WeirSecrets } from './types';

type Props = DataSourcePluginOptionsEditorProps<WeirOptions, WeirSecrets>;

const LABEL = 28;

const LOGINS: Array<{ value: Login; label: string }> = [
  { value: 'jwt', label: 'Service account key' },
  { value: 'gce', label: 'Application default credentials' },
  { value: 'forwardOAuthIdentity', label: "Users' own logins, forwarded" },
  { value: 'workloadIdentityFederation', label: 'Workload identity federation' },
  { value: 'none', label: 'None, for a local stand-in' },
];

interface Setting {
  name: keyof WeirOptions;
  label: string;
  tooltip?: string;
  placeholder?: string;
  isNumber?: boolean;
}

const KEY: Setting[] = [
  { name: 'clientEmail', label: 'Client email', placeholder: 'grafana@project.iam.gserviceaccount.com' },
  { name: 'tokenUri', label: 'Token URI', placeholder: 'https://oauth2.googleapis.com/token' },
  { name: 'privateKeyPath', label: 'Private key path', tooltip: 'On the server, in place of a private key here' },
];

const FEDERATION: Setting[] = [
  { name: 'privateKeyPath', label: 'Credentials file', tooltip: 'On the server, of the type external_account' },
  { name: 'workloadIdentityPoolProvider', label: 'Pool provider', tooltip: "For the users' own logins" },
  { name: 'wifServiceAccountEmail', label: 'Service account' },
];

const PLACE: Setting[] = [
  { name: 'defaultProject', label: 'Default project' },
  { name: 'flatRateProject', label: 'Billing project', tooltip: 'Jobs run in it and are billed to it, if it is another' },
  { name: 'processingLocation', label: 'Location', placeholder: 'US' },
  { name: 'serviceEndpoint', label: 'Service endpoint', placeholder: 'https://bigquery.googleapis.com' },
  { name: 'storageEndpoint', label: 'Storage endpoint' },
];

const LIMITS: Setting[] = [
  { name: 'MaxBytesBilled', label: 'Bytes billed per query', tooltip: 'A job fails rather than bill more', isNumber: true },
  { name: 'dailyBytes', label: 'Bytes billed per day', placeholder: '1TiB', tooltip: 'Of all queries, in a day of UTC' },
  { name: 'dailyBytesPerPrincipal', label: 'And for each user', placeholder: '100GiB' },
  { name: 'pricePerTiB', label: 'Price per TiB', placeholder: '6.25', tooltip: 'Dollars, or a text with a currency: 5.75 EUR' },
  { name: 'queryTimeout', label: 'Query timeout', placeholder: '60s' },
];

const CACHE: Setting[] = [
  {
    name: 'freshSeconds',
    label: 'Fresh for, seconds',
    tooltip: 'Of ranges that are still open; empty: a quarter of the interval, between 15 s and 5 min',
    isNumber: true,
  },
  {
    name: 'maxStalenessSeconds',
    label: 'Stale for at most, seconds',
    tooltip: 'Older than fresh, while newer data are on their way; 0: never',
    isNumber: true,
  },
];

const AUDIT: Setting[] = [
  { name: 'auditShare', label: 'Share that is audited', placeholder: '0', tooltip: 'Of answers in parts, 0 to 1: asked whole once more, and compared' },
  { name: 'auditDailyBytes', label: 'Billed by audits per day', placeholder: '100GiB' },
];

const RELATIONS = [
  { value: '', label: 'None' },
  { value: 'mozilla', label: "Mozilla's experiment monitoring" },
];

export function ConfigEditor({ options, onOptionsChange }: Props) {
  const { jsonData } = options;
  const login = jsonData.authenticationType ?? 'jwt';
  const set = (change: Partial<WeirOptions>) => onOptionsChange({ ...options, jsonData: { ...jsonData, ...change } });
  const fields = (settings: Setting[]) => settings.map((one) => <TextField key={one.name} {...one} options={jsonData} onSet={set} />);
  const flag = (key: keyof WeirOptions, label: string) => (
    <InlineField label={label} labelWidth={LABEL}>
      <InlineSwitch aria-label={label} value={Boolean(jsonData[key])} onChange={(event) => set({ [key]: event.currentTarget.checked })} />
    </InlineField>
  );
  return (
    <>
      <FieldSet label="Login">
        <InlineField label="Login" labelWidth={LABEL}>
          <Select aria-label="Login" width={40} options={LOGINS} value={login} onChange={({ value }) => set({ authenticationType: value })} />
        </InlineField>
        {login === 'jwt' && fields(KEY)}
        {login === 'jwt' && <PrivateKey options={options} onOptionsChange={onOptionsChange} />}
        {login === 'workloadIdentityFederation' && fields(FEDERATION)}
        {flag('usingImpersonation', 'Impersonate')}
        {jsonData.usingImpersonation &&
          fields([{ name: 'serviceAccountToImpersonate', label: 'Service account', placeholder: 'name@project.iam.gserviceaccount.com' }])}
        {flag('oauthPassThru', "Forward users' logins")}
      </FieldSet>
      <FieldSet label="BigQuery">{fields(PLACE)}</FieldSet>
      <FieldSet label="Limits">
        {fields(LIMITS)}
        <InlineField label="Priority" labelWidth={LABEL}>
          <Select
            aria-label="Priority"
            width={40}
            options={['INTERACTIVE', 'BATCH'].map((value) => ({ value, label: value }))}
            value={jsonData.queryPriority ?? 'INTERACTIVE'}
            onChange={({ value }) => set({ queryPriority: value })}
          />
        </InlineField>
        {flag('restrictToAccessibleDatasets', 'Accessible datasets only')}
        {jsonData.restrictToAccessibleDatasets &&
          fields([{ name: 'additionalAllowedDatasets', label: 'And these datasets', placeholder: 'project.dataset, dataset' }])}
      </FieldSet>
      <FieldSet label="Cache">
        {fields(CACHE)}
        <InlineField label="Local relations" labelWidth={LABEL} tooltip="Kept in memory: any SQL over these is answered without a job of its own">
          <Select
            aria-label="Local relations"
            width={40}
            options={RELATIONS}
            value={jsonData.localRelations ?? ''}
            onChange={({ value }) => set({ localRelations: value || undefined })}
          />
        </InlineField>
        {jsonData.localRelations &&
          fields([{ name: 'localMemory', label: 'Memory of each at most', placeholder: '2GiB', tooltip: 'Empty: no limit' }])}
        {fields(AUDIT)}
        <Descriptors value={jsonData.descriptors} onSet={set} />
        <Purge name={options.name} />
      </FieldSet>
    </>
  );
}

function TextField({ options, onSet, ...setting }: Setting & { options: WeirOptions; onSet: (change: Partial<WeirOptions>) => void }) {
  const written = (text: string) => {
    const value = setting.isNumber && text !== '' ? Number(text) : text;
    onSet({ [setting.name]: value === '' ? undefined : value });
  };
  return (
    <InlineField label={setting.label} labelWidth={LABEL} tooltip={setting.tooltip}>
      <Input
        aria-label={setting.label}
        width={40}
        type={setting.isNumber ? 'number' : 'text'}
        placeholder={setting.placeholder}
        value={String(options[setting.name] ?? '')}
        onChange={(event: React.ChangeEvent<HTMLInputElement>) => written(event.target.value)}
      />
    </InlineField>
  );
}

function PrivateKey({ options, onOptionsChange }: Pick<Props, 'options' | 'onOptionsChange'>) {
  if (options.secureJsonFields?.privateKey) {
    const reset = () =>
      onOptionsChange({
        ...options,
        secureJsonFields: { ...options.secureJsonFields, privateKey: false },
        secureJsonData: { ...options.secureJsonData, privateKey: '' },
      });
    return (
      <InlineField label="Private key" labelWidth={LABEL}>
        <>
          <Input aria-label="Private key" width={40} disabled value="configured" />
          <Button variant="secondary" aria-label="Reset the private key" onClick={reset}>
            Reset
          </Button>
        </>
      </InlineField>
    );
  }
  const written = (privateKey: string) => onOptionsChange({ ...options, secureJsonData: { ...options.secureJsonData, privateKey } });
  return (
    <InlineField label="Private key" labelWidth={LABEL}>
      <TextArea
        aria-label="Private key"
        rows={4}
        cols={60}
        placeholder="-----BEGIN PRIVATE KEY-----"
        value={options.secureJsonData?.privateKey ?? ''}
        onChange={(event: React.ChangeEvent<HTMLTextAreaElement>) => written(event.target.value)}
      />
    </InlineField>
  );
}

/** What is known of tables and views; the backend reads the text as well as the array. */
function Descriptors({ value, onSet }: { value?: unknown[] | string; onSet: (change: Partial<WeirOptions>) => void }) {
  const text = typeof value === 'string' || !value ? value ?? '' : JSON.stringify(value, null, 2);
  const mistake = descriptorMistake(text);
  return (
    <>
      <InlineField label="Descriptors" labelWidth={LABEL} tooltip="What is known of tables and views, as JSON: the README has the keys">
        <TextArea
          aria-label="Descriptors"
          aria-invalid={Boolean(mistake)}
          rows={4}
          cols={60}
          placeholder={'[{"table": "project.dataset.table", …}]'}
          value={text}
          onChange={(event: React.ChangeEvent<HTMLTextAreaElement>) => onSet({ descriptors: event.target.value || undefined })}
        />
      </InlineField>
      {mistake && <div role="alert">Descriptors: {mistake}</div>}
    </>
  );
}

/** What is wrong with the text as JSON; what its keys mean, the backend says. */
function descriptorMistake(text: string): string {
  if (text.trim() === '') {
    return '';
  }
  try {
    return Array.isArray(JSON.parse(text)) ? '' : 'not an array';
  } catch (error) {
    return messageOf(error);
  }
}

/** Leaves every stored answer of the data source behind. */
function Purge({ name }: { name: string }) {
  const [said, say] = useState('');
  const purge = async () => {
    try {
      const source = (await getDataSourceSrv().get(name)) as unknown as DataSource;
      await source.resources.purge();
      say('Purged: the next look at a panel asks BigQuery.');
    } catch (error) {
      say(messageOf(error));
    }
  };
  return (
    <InlineField label="Stored answers" labelWidth={LABEL}>
      <>
        <Button variant="secondary" onClick={purge}>
          Purge
        </Button>
        <span role="status" style={{ marginLeft: 8 }}>
          {said}
        </span>
      </>
    </InlineField>
  );
}
