// The line under the editor: what the query would cost and how it would be answered, and what its last run did.
import { DataFrame } from '@grafana/data';
import { Icon } from '@grafana/ui';
import React from 'react';
import { Check } from './check';
import { Provenance } from './types';
import { ahead, outcome } from './words';

interface Props {
  check: Check;
  frames?: DataFrame[];
  refId: string;
}

export function CostLine({ check, frames, refId }: Props) {
  const ran = frames?.find((frame) => frame.refId === refId && frame.meta?.custom)?.meta?.custom as Provenance | undefined;
  const isBad = check.state === 'invalid' || check.state === 'failed';
  return (
    <div style={{ padding: '4px 0', fontSize: '12px' }}>
      <div role={isBad ? 'alert' : 'status'} aria-live="polite" aria-label="Cost of the query">
        <Icon name={isBad ? 'exclamation-triangle' : check.state === 'valid' ? 'check' : 'fa fa-spinner'} /> {ahead(check)}
      </div>
      {ran && <div aria-label="Cost of the last run">Last run: {outcome(ran)}</div>}
    </div>
  );
}
