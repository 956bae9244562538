// What the data source's queries billed and what the cache saved, from Weir's own ledger: no panel runs a job.
import { board, field, ledger, ratio, series, stat, table } from './panels.mjs';

const SINCE = 'Since the plugin was started, in days of UTC.';

const BYTES = ['bytes_billed', 'bytes_uncached', 'bytes_saved', 'bytes_overhead'].map((name) => field(name, { unit: 'bytes' }));
const TIMES = ['slot_ms', 'slot_ms_per_job'].map((name) => field(name, { unit: 'ms' }));
const SHARE = field('saved_share', { unit: 'percentunit' });

const share = ratio('saved_share', 'bytes_saved', 'bytes_uncached');
const perJob = ratio('slot_ms_per_job', 'slot_ms', 'jobs');

function sums(title, column, note, unit = 'bytes') {
  return stat(title, `${note} ${SINCE}`, ledger('day'), { unit, calc: 'sum', fields: `/^${column}$/` });
}

function lines(title, note, by, transformations, desc) {
  const overrides = [...BYTES, ...TIMES, SHARE];
  return table(title, `${note} ${SINCE}`, ledger(by), { overrides, transformations, sortBy: [{ displayName: desc, desc: true }] });
}

export default board({
  uid: 'weir-cost',
  title: 'Weir cost',
  description: 'What queries billed and what the cache saved.',
  from: 'now-7d',
  refresh: '5m',
  variables: [],
  rows: [
    {
      height: 4,
      panels: [
        sums('Billed', 'bytes_billed', 'By all jobs.'),
        sums('Saved', 'bytes_saved', 'What the same answers would have billed without Weir, less what they did.'),
        sums('Answers', 'answers', 'Of queries, through both doors.', 'short'),
        sums('Jobs', 'jobs', 'That BigQuery ran.', 'short'),
        sums('Failed jobs', 'jobs_failed', 'Of those.', 'short'),
      ],
    },
    {
      height: 9,
      panels: [series('Billed and saved by day', SINCE, ledger('day', 0), { bars: true, unit: 'bytes' })],
    },
    {
      height: 9,
      panels: [
        lines('Saved by cause', 'Why jobs ran, and why bytes were not billed. Answers under stale were older than fresh.', 'cause', [], 'bytes_saved'),
        lines('Hit ratio by data source', 'The share of bytes that was not billed.', 'source', [share], 'bytes_billed'),
      ],
    },
    {
      height: 10,
      panels: [lines('Panels', 'Slow ones have many slot milliseconds to a job; costly ones billed much.', 'board,panel', [share, perJob], 'bytes_billed')],
    },
    {
      height: 9,
      panels: [
        lines('Who asked', 'Daily budgets are counted by these figures.', 'principal', [share], 'bytes_billed'),
        lines('By day and data source', 'For the budget of a day.', 'day,source', [share], 'bytes_billed'),
      ],
    },
  ],
});
