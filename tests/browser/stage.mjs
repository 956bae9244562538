// Puts up what the browser tests need: the host page, the bridge to the plugin, and a browser.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { host } from './build.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../..');

/** Where screenshots go; img/ has the ones that the README shows. */
export const SHOTS = process.env.WEIR_SCREENSHOTS ?? join(root, 'target/screenshots');

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

function required(name, what) {
  if (!process.env[name]) {
    throw new Error(`${name} is not set; give ${what}`);
  }
  return process.env[name];
}

/** For how long anything is waited for: whole tests took 4 s each, and up to 80 s on a machine that compiled beside. */
export const WAIT_MS = 180_000;

/** A stage for one line of Grafana. */
export async function stage(line) {
  const folder = mkdtempSync(join(tmpdir(), 'weir-stage-'));
  const settings = {
    authenticationType: 'none',
    serviceEndpoint: required('WEIR_FAKE_REST', "the base URL of a BigQuery stand-in over the demonstration data"),
    storageEndpoint: required('WEIR_FAKE_STORAGE', "the base URL of the stand-in's Storage Read API"),
    defaultProject: 'moz-fx-data-shared-prod',
  };
  await host(line, folder);
  writeFileSync(join(folder, 'settings.json'), JSON.stringify(settings));
  const dist = process.env.WEIR_DIST ?? join(root, 'dist');
  const icons = join(here, line, 'node_modules/@grafana/ui/dist/public');
  const places = { '/page/': folder, '/dist/': dist, '/dashboards/': join(root, 'dashboards'), '/public/': icons, '/public/build/': icons };
  const bridge = spawn(
    required('WEIR_BRIDGE', 'the path of the built tests/host-go/bridge'),
    [...(line === '7' ? ['--old'] : []), '--settings', JSON.stringify(settings), ...Object.entries(places).map(([path, from]) => `${path}=${from}`)],
    { env: process.env, stdio: ['pipe', 'pipe', 'ignore'] }
  );
  const url = await new Promise((found, failed) => {
    createInterface({ input: bridge.stdout }).once('line', found);
    bridge.once('exit', (code) => failed(new Error(`the bridge ended with ${code}`)));
  });
  const browser = await chromium.launch({ executablePath: chromiumPath(), args: FLAGS });
  // One context, so that the page's megabytes are compiled once.
  const context = await browser.newContext({ viewport: { width: 1240, height: 900 } });
  mkdirSync(SHOTS, { recursive: true });
  return {
    /** Opens a view of the page; what the page complains of is in `complaints`. */
    async open(params) {
      const page = await context.newPage();
      const complaints = [];
      page.on('pageerror', (error) => complaints.push(error.stack ?? String(error)));
      page.setDefaultTimeout(WAIT_MS);
      await page.goto(`${url}/page/?${new URLSearchParams(params)}`);
      return Object.assign(page, { complaints });
    },
    /** Sets the data source up as it was at first. */
    async reset() {
      await fetch(`${url}/api/datasources/uid/weir`, { method: 'PUT', body: JSON.stringify({ jsonData: settings }) });
    },
    async close() {
      await browser.close();
      bridge.stdin.end();
      rmSync(folder, { recursive: true });
    },
  };
}

function chromiumPath() {
  const found = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
    (path) => path && existsSync(path)
  );
  if (!found) {
    throw new Error('chromium is missing; on Debian: apt-get install chromium');
  }
  return found;
}
