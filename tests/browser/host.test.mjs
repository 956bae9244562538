// What people do in Grafana, in a browser: with the built module, Grafana's own packages of two lines, and Weir
// behind them on the demonstration data.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SHOTS, stage, WAIT_MS } from './stage.mjs';

const boards = resolve(dirname(fileURLToPath(import.meta.url)), '../../dashboards');
const ENROLLMENTS = '`moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall`';
const BY_BRANCH = `SELECT $__timeGroup(time, $__interval) AS time, branch, SUM(value) AS value\nFROM ${ENROLLMENTS}\nWHERE branch IS NOT NULL AND $__timeFilter(time)\nGROUP BY 1, 2\nORDER BY 1, 2`;

// Boards are the same in both; one draws them all, the other the one that a browser makes the most of.
const BOARDS = { 13: readdirSync(boards), 12: ['experiment-overview.json'] };

// A column that the panel itself adds, and who asked before.
const SHOWN = { 'weir-cost.json': ['Saved, share', 'weir-experiment-enrollment'] };

for (const line of ['13', '12']) {
  describe(`Grafana ${line}`, () => {
    /** @type {Awaited<ReturnType<typeof stage>>} */
    let there;
    let busy;
    before(async () => {
      there = await stage(line);
    });
    after(() => there?.close());

    async function shot(page, name) {
      mkdirSync(join(SHOTS, line), { recursive: true });
      await page.screenshot({ path: join(SHOTS, line, `${name}.png`), fullPage: true });
    }

    /** A test with a page, which must not complain. */
    function scene(name, params, act) {
      test(name, { timeout: 4 * WAIT_MS }, async () => {
        const page = await there.open(params);
        try {
          await page.waitForFunction(() => window.host?.source);
          await act(page);
          assert.deepEqual(page.complaints, []);
        } catch (error) {
          await shot(page, `failed ${name}`);
          throw error;
        } finally {
          await page.close();
          if (!params.view) {
            // Whatever came of it, the other tests have a data source that works.
            await there.reset();
          }
        }
      });
    }

    const editor = (rawSql, more) => ({ view: 'editor', query: JSON.stringify({ rawSql, format: 0, ...more }) });
    const cost = (page, text) => page.getByLabel('Cost of the query').filter({ hasText: text }).waitFor();
    const lastRun = (page, text, timeout = WAIT_MS) => page.getByLabel('Cost of the last run').filter({ hasText: text }).waitFor({ timeout });

    async function write(page, sql) {
      await page.locator('.monaco-editor .view-lines').click();
      await page.keyboard.press('Control+A');
      await page.keyboard.insertText(sql);
    }

    scene('a data source is set up, tested and purged', {}, async (page) => {
      await page.getByLabel('Location', { exact: true }).fill('US');
      await page.getByLabel('Fresh for, seconds').fill('60');
      await page.getByLabel('Share that is audited').fill('0.01');
      await page.getByRole('button', { name: 'Save & test' }).click();
      await page.getByLabel('Test of the data source').filter({ hasText: 'Data source is working' }).waitFor();
      await page.getByRole('button', { name: 'Purge' }).click();
      await page.getByText('Purged').waitFor();
      await shot(page, 'settings');
    });

    scene('a private key is written and never shown', {}, async (page) => {
      const secret = '-----BEGIN PRIVATE KEY-----\nvery secret';
      await page.getByLabel('Login', { exact: true }).focus();
      await page.keyboard.press('ArrowDown');
      await page.getByText('Service account key').click();
      await page.getByLabel('Private key', { exact: true }).fill(secret);
      await page.getByRole('button', { name: 'Save & test' }).click();
      await page.getByRole('button', { name: 'Reset the private key' }).waitFor();
      await page.getByLabel('Test of the data source').filter({ hasText: 'jsonData.clientEmail' }).waitFor();
      assert.ok(!(await page.content()).includes('very secret'));
      await page.getByRole('button', { name: 'Reset the private key' }).click();
      assert.equal(await page.getByLabel('Private key', { exact: true }).inputValue(), '');
    });

    scene('local relations, once set, answer the enrollment board without a job for any panel', {}, async (page) => {
      const slug = await busiest(page);
      await page.getByLabel('Local relations').focus();
      await page.keyboard.press('ArrowDown');
      await page.getByText("Mozilla's experiment monitoring").click();
      await page.getByRole('button', { name: 'Save & test' }).click();
      await page.getByLabel('Test of the data source').filter({ hasText: 'Data source is working' }).waitFor();
      await shot(page, 'settings-local');
      const board = await there.open({ view: 'board', board: 'experiment-enrollment', 'var-experiment_id': slug, from: 'now-7d' });
      // The first look may be the first of a slot, whose rows somebody has to fetch, and another may see the next begin.
      const looks = [];
      const isFree = (look) => look.every(({ bytes_billed, bytes_saved }) => bytes_billed === 0 && bytes_saved > 0);
      while (looks.length < 3 && !looks.some(isFree)) {
        await (looks.length > 0 && board.reload());
        await board.waitForFunction(() => window.host?.done || window.host?.failed);
        looks.push(await board.evaluate(() => Object.values(window.host.provenances)));
      }
      assert.ok(looks.some(isFree), JSON.stringify(looks));
      assert.deepEqual(looks.flat().filter(({ mode }) => mode !== 'local'), []);
      assert.equal(looks[0].length, await board.locator('section[data-state=drawn]').count());
      const asked = await there.open(editor(BY_BRANCH.replace('WHERE', `WHERE experiment = '${slug}' AND`)));
      await cost(asked, 'local: no job of its own');
      await asked.getByLabel('Run query').click();
      // In a slot that has begun just now the first run fetches its rows.
      const free = /billed 0 B.*saved .* old, hit/;
      await lastRun(asked, free, WAIT_MS / 6).catch(() => asked.getByLabel('Run query').click());
      await lastRun(asked, free);
      await cost(asked, 'local: no job of its own');
      await shot(asked, 'query-editor-local');
      assert.deepEqual([...asked.complaints, ...board.complaints], []);
      await asked.close();
      await board.close();
    });

    scene('SQL is written, its cost seen, and run: a chart', editor(''), async (page) => {
      await cost(page, 'Write a query');
      await write(page, BY_BRANCH);
      await cost(page, /Valid\. Reads .* bills .*USD.*delta: settled days are never billed again/);
      await page.keyboard.press('Control+Enter');
      await lastRun(page, /billed/);
      await page.locator('section[data-state=drawn] canvas').waitFor();
      await page.getByLabel('Run query').click();
      await lastRun(page, /billed 0 B.*saved .*hit/);
      assert.equal((await page.evaluate(() => window.host.query())).rawSql, BY_BRANCH);
      await cost(page, 'is stored');
      await shot(page, 'query-editor');
    });

    scene('a table is chosen with the keyboard', editor('SELECT branch, SUM(value) AS total FROM ' + ENROLLMENTS + ' WHERE $__timeFilter(time) GROUP BY 1 ORDER BY 2 DESC'), async (page) => {
      await page.getByLabel('Format').focus();
      await page.keyboard.press('ArrowDown');
      await page.getByText('Table', { exact: true }).waitFor();
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Enter');
      assert.equal((await page.evaluate(() => window.host.query())).format, 1);
      await page.getByLabel('Run query').focus();
      await page.keyboard.press('Enter');
      await page.getByRole('cell', { name: 'control', exact: true }).first().waitFor();
    });

    scene('a mistake is shown at its place', editor(''), async (page) => {
      await write(page, `SELECT branch,\n  nme FROM ${ENROLLMENTS}`);
      await page.getByRole('alert').filter({ hasText: /Line 2, column 3: .*nme/ }).waitFor();
      await page.locator('.squiggly-error').waitFor();
      await shot(page, 'mistake');
      // After a closed name nothing is offered that would take the Enter.
      await page.keyboard.press('Enter');
      await page.keyboard.type('WHERE');
      await page.locator('.monaco-editor .view-line').filter({ hasText: /^\s*WHERE$/ }).waitFor();
    });

    scene('names of tables and columns are completed', editor(''), async (page) => {
      const offered = (name) => page.locator('.suggest-widget .monaco-list-row').filter({ hasText: name }).first().waitFor();
      await write(page, 'SELECT 1 FROM moz-fx-data-shared-prod.');
      await page.keyboard.press('Control+Space');
      await offered('firefox_desktop_derived');
      await page.keyboard.press('Escape');
      await write(page, `SELECT * FROM ${ENROLLMENTS} WHERE nor`);
      await page.keyboard.press('Control+Space');
      await offered('normalized_channel');
      await page.locator('.suggest-widget .message').waitFor({ state: 'hidden' });
      await page.getByRole('alert').filter({ hasText: 'nor' }).waitFor();
      await shot(page, 'completion');
    });

    scene('the builder writes SQL that runs', editor('', { refId: 'B' }), async (page) => {
      await page.getByRole('radio', { name: 'Builder' }).click({ force: true });
      await page.getByLabel('Dataset', { exact: true }).focus();
      await page.keyboard.press('ArrowDown');
      await page.getByText('Population estimate').click();
      await page.getByLabel('Filter by experiment').fill(await busiest(page));
      await page.keyboard.press('Tab');
      const sql = page.getByLabel('SQL of the builder');
      await sql.filter({ hasText: 'experiment_enrollment_cumulative_population_estimate' }).waitFor();
      assert.match(await sql.textContent(), /branch, MAX\(value\) AS value[\s\S]*experiment = '/);
      await page.getByLabel('Run query').click();
      await page.locator('section[data-state=drawn] canvas').waitFor();
      await cost(page, 'Valid.');
      await shot(page, 'builder');
    });

    scene('a variable has texts and values', editor('SELECT 1'), async (page) => {
      const found = await page.evaluate(async () => {
        const { source, data } = window.host;
        const rawSql = "SELECT 'Shown' AS __text, 'meant' AS __value UNION ALL SELECT 'Other', 'o'";
        const old = await source.metricFindQuery("SELECT 'a' AS x", {});
        const target = { refId: 'v', rawSql };
        const request = { targets: [target], range: data.getDefaultTimeRange(), scopedVars: {} };
        const response = await new Promise((resolve) => source.variables.query(request).subscribe(resolve));
        return { old, now: response.data };
      });
      assert.deepEqual(found.old, [{ text: 'a', value: 'a' }]);
      assert.deepEqual(
        found.now.sort((a, b) => a.text.localeCompare(b.text)),
        [{ text: 'Other', value: 'o' }, { text: 'Shown', value: 'meant' }]
      );
    });

    scene('annotations old and new are the rows of their query', editor('SELECT 1'), async (page) => {
      const names = await page.evaluate(async () => {
        const { source, ask } = window.host;
        const sql = "SELECT TIMESTAMP '2026-01-01' AS time, 'launch' AS text, 'a,b' AS tags";
        const found = [];
        for (const json of [{ rawQuery: sql }, { target: { refId: 'Anno', rawSql: sql } }]) {
          const { target } = source.annotations.prepareAnnotation(json);
          const { series } = await ask([target]);
          found.push(series[0].fields.map((field) => field.name).join());
        }
        return found;
      });
      assert.deepEqual(names, ['time,text,tags', 'time,text,tags']);
    });

    scene('an ad-hoc filter reaches every query', editor(BY_BRANCH), async (page) => {
      const found = await page.evaluate(async (rawSql) => {
        const { source, ask, templates } = window.host;
        const branches = async () => {
          const { series } = await ask([{ refId: 'A', rawSql, format: 0 }]);
          return series[0].fields.slice(1).map((field) => field.labels.branch);
        };
        const before = await branches();
        const keys = (await source.getTagKeys()).map(({ text }) => text);
        const values = (await source.getTagValues({ key: 'branch' })).map(({ text }) => text);
        templates.filters = [{ key: 'branch', operator: '=', value: 'control' }];
        return { before, keys, values, after: await branches() };
      }, BY_BRANCH);
      assert.ok(found.before.length > 1 && found.values.includes('control'));
      assert.deepEqual(found.keys, ['branch', 'experiment', 'normalized_channel', 'time', 'value']);
      assert.deepEqual(found.after, ['control']);
    });

    scene('a query that is kept elsewhere has the values of its variables, and no settings', editor('SELECT 1'), async (page) => {
      const { kept, sent, plain } = await page.evaluate(() => {
        const { plugin, templates } = window.host;
        const jsonData = { freshSeconds: 60, maxStalenessSeconds: 5 };
        const source = new plugin.DataSourceClass({ id: 1, uid: 'weir', name: 'Weir', type: 'weir-bigquery-datasource', meta: {}, jsonData });
        templates.variables = [{ name: 'branch', current: { value: 'control' } }];
        const query = { refId: 'A', rawSql: "SELECT '$branch' AS b", editorMode: 'builder', builder: { dataset: 'd' } };
        const plain = { ...query, rawSql: 'SELECT 1' };
        const [kept, same] = JSON.parse(JSON.stringify(source.interpolateVariablesInQueries([query, plain], {})));
        return { kept, sent: source.applyTemplateVariables(query, {}), plain: { before: plain, after: same } };
      });
      assert.deepEqual(kept, { refId: 'A', rawSql: "SELECT 'control' AS b", editorMode: 'code' });
      assert.deepEqual(plain.after, plain.before);
      assert.deepEqual([sent.rawSql, sent.queryCachingTTL, sent.cache], [kept.rawSql, 60_000, { maxStalenessMs: 5_000 }]);
    });

    scene("queries of both peers' plugins are brought over and run", editor('SELECT 1'), async (page) => {
      const values = await page.evaluate(async () => {
        const { source, ask } = window.host;
        const found = [];
        for (const [type, query] of [
          ['grafana-bigquery-datasource', { refId: 'A', rawSql: 'SELECT 1 AS n', format: 1, editorMode: 'builder', sql: {}, project: 'p' }],
          ['doitintl-bigquery-datasource', { refId: 'A', rawSql: '#standardSQL\nSELECT 2 AS n', format: 'table', rawQuery: true, timeColumn: '-- time --', metricColumn: 'none' }],
        ]) {
          const [ours] = await source.importQueries([query], { type, meta: { id: type } });
          const { series } = await ask([ours]);
          found.push(series[0].fields[0].values[0]);
        }
        return found;
      });
      assert.deepEqual(values, [1, 2]);
    });

    for (const name of BOARDS[line]) {
      const board = JSON.parse(readFileSync(join(boards, name), 'utf8'));
      const panels = board.panels.filter(({ targets }) => targets);
      test(`every panel of ${board.title} draws data`, { timeout: 4 * WAIT_MS }, async () => {
        const from = { 'experiment-enrollment.json': { from: 'now-7d' } }[name];
        const first = await there.open(editor('SELECT 1'));
        const slug = await busiest(first);
        await first.close();
        const page = await there.open({ view: 'board', board: name.replace('.json', ''), 'var-experiment_id': slug, ...from });
        try {
          await page.waitForFunction(() => window.host?.done || window.host?.failed, undefined, { timeout: 2 * WAIT_MS });
          assert.equal(await page.evaluate(() => window.host.failed), undefined);
          await shot(page, name.replace('.json', ''));
          assert.equal(await page.locator('section[data-state=drawn]').count(), panels.length);
          assert.deepEqual(await page.locator('section:has([data-empty])').evaluateAll((all) => all.map((one) => one.dataset.panel)), []);
          assert.deepEqual(await page.getByText(/\b(NaN|Infinity|undefined|null|Invalid date)\b/).allTextContents(), []);
          for (const shown of SHOWN[name] ?? []) {
            await page.getByText(shown, { exact: true }).first().waitFor();
          }
          assert.deepEqual(page.complaints, []);
        } finally {
          await page.close();
        }
      });
    }

    /** The experiment with branches, crashes and the most enrollments: it has numbers everywhere. */
    async function busiest(page) {
      await page.waitForFunction(() => window.host?.source);
      busy ??= await page.evaluate(async () => {
        const from = (view) => `FROM \`moz-fx-data-shared-prod.telemetry.${view}\` WHERE branch IS NOT NULL AND $__timeFilter(time)`;
        const rawSql = `SELECT experiment ${from('experiment_enrollment_overall')} AND experiment IN (SELECT experiment ${from('experiment_crash_counts')})
          GROUP BY 1 HAVING COUNT(DISTINCT branch) > 1 ORDER BY SUM(value) DESC LIMIT 1`;
        const { series } = await window.host.ask([{ refId: 'A', rawSql, format: 1 }]);
        return series[0].fields[0].values[0];
      });
      return busy;
    }
  });
}

describe('Grafana 7', () => {
  let there;
  before(async () => {
    there = await stage('7');
  });
  after(() => there?.close());

  for (const mode of ['builder', 'code']) {
    test(`the module loads, its settings and its editor (${mode}) are drawn, and a query is answered`, { timeout: 4 * WAIT_MS }, async () => {
      const page = await there.open({ mode });
      await page.waitForFunction(() => window.host?.values || window.host?.failed);
      assert.equal(await page.evaluate(() => window.host.failed), undefined);
      assert.deepEqual(await page.evaluate(() => window.host.values), [{ text: 'a', value: 'a' }]);
      await page.getByText('Price per TiB').waitFor();
      await page.getByText('Group by', { exact: true }).waitFor({ state: mode === 'builder' ? 'visible' : 'detached' });
      assert.deepEqual(page.complaints, []);
      await page.screenshot({ path: join(SHOTS, `7-${mode}.png`), fullPage: true });
      await page.close();
    });
  }
});
