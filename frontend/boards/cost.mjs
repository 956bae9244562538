// What the data source's queries billed and what the cache saved, from Weir's own ledger: no panel runs a job.
import { board, field, ledger, only, ratio, series, stat, table } from './panels.mjs';

const SINCE = 'Since the plugin was started, in days of UTC.';

const number = (displayName, unit = 'short', width = 90) => ({ displayName, unit, 'custom.width': width });

/** Shares of nothing, and times of no job. */
const NONE = [{ type: 'special', options: { match: 'null+nan', result: { text: '–', index: 0 } } }];

/** The ledger's columns, and ours, as they are called and in what unit they are. */
const COLUMNS = {
  day: { displayName: 'Day' },
  source: { displayName: 'Data source' },
  principal: { displayName: 'User' },
  board: { displayName: 'Board', 'custom.width': 230 },
  panel: { displayName: 'Panel' },
  cause: { displayName: 'Cause' },
  answers: number('Answers'),
  jobs: number('Jobs'),
  bytes_billed: number('Billed', 'bytes'),
  bytes_uncached: number('Without Weir', 'bytes', 120),
  bytes_saved: number('Saved', 'bytes'),
  saved_share: { ...number('Saved, share', 'percentunit', 120), mappings: NONE },
  slot_ms_per_job: { ...number('Slot time per job', 'ms', 150), mappings: NONE },
};

const named = (...names) => names.map((name) => field(name, COLUMNS[name]));

const RATIOS = {
  saved_share: ratio('saved_share', 'bytes_saved', 'bytes_uncached'),
  slot_ms_per_job: ratio('slot_ms_per_job', 'slot_ms', 'jobs'),
};

function sums(title, column, note, unit = 'bytes') {
  return stat(title, `${note} ${SINCE}`, ledger('day'), { unit, calc: 'sum', fields: `/^${column}$/` });
}

/** Lines of the ledger with some of its columns, those with the most of one first. */
function lines(title, note, by, columns, most = 'bytes_billed') {
  const names = [...by.split(','), ...columns];
  const ratios = names.filter((name) => RATIOS[name]).map((name) => RATIOS[name]);
  return table(title, `${note} ${SINCE}`, ledger(by), {
    overrides: named(...names),
    transformations: [...ratios, only(...names)],
    sortBy: [{ displayName: COLUMNS[most].displayName, desc: true }],
  });
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
        sums('Overhead', 'bytes_overhead', 'What answers billed beyond what they would have billed without Weir.'),
        sums('Answers', 'answers', 'Of queries, through both doors.', 'short'),
        sums('Jobs', 'jobs', 'That BigQuery ran.', 'short'),
        sums('Failed jobs', 'jobs_failed', 'Of those.', 'short'),
      ],
    },
    {
      height: 9,
      panels: [
        series('Billed and saved by day', SINCE, ledger('day', 0), {
          bars: true, stack: true, unit: 'bytes', overrides: named('bytes_billed', 'bytes_saved'),
          transformations: [only('day', 'bytes_billed', 'bytes_saved')],
        }),
      ],
    },
    {
      height: 9,
      panels: [
        lines('Saved by cause', 'Why jobs ran, and why bytes were not billed. Answers under stale were older than fresh.', 'cause', ['answers', 'jobs', 'bytes_billed', 'bytes_saved'], 'bytes_saved'),
        lines('Hit ratio by data source', 'The share of bytes that was not billed.', 'source', ['answers', 'bytes_uncached', 'bytes_billed', 'saved_share']),
      ],
    },
    {
      height: 10,
      panels: [
        lines('Panels', 'Slow ones have much slot time to a job; costly ones billed much.', 'board,panel', [
          'answers', 'jobs', 'bytes_billed', 'bytes_saved', 'saved_share', 'slot_ms_per_job',
        ]),
      ],
    },
    {
      height: 9,
      panels: [
        lines('Who asked', 'Daily budgets are counted by these figures.', 'principal', ['answers', 'bytes_billed', 'bytes_saved', 'saved_share']),
        lines('By day and data source', 'For the budget of a day.', 'day,source', ['answers', 'bytes_billed', 'bytes_saved']),
      ],
    },
  ],
});
